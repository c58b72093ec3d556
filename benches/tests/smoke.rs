//! That the benchmark runs and says what it should; never how long anything took.

use std::process::Command;

fn bench(args: &[&str]) -> Option<(bool, String)> {
    if std::fs::metadata("/proc/self").map(|m| std::os::unix::fs::MetadataExt::uid(&m)).ok()? != 0 {
        println!("skipped: not root");
        return None;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_hostel-bench")).args(args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Some((output.status.success(), text))
}

#[test]
fn every_scenario_in_three_rounds() {
    // Another benchmark may run beside this one.
    let before = leftovers();
    let file = std::env::temp_dir().join(format!("hostel-bench-{}.json", std::process::id()));
    let mut args = vec!["all", "--rounds", "3", "--quiet", "0", "--machines", "3", "--dev", "--json", file.to_str().unwrap()];
    // The binary that is tested, where there is one: building another takes longer than all scenarios.
    let built = std::env::var("HOSTEL_BIN").ok();
    args.extend(built.iter().flat_map(|path| ["--hostel", path]));
    let Some((ok, text)) = bench(&args) else { return };
    assert!(ok, "{text}");
    for scenario in ["start", "variants", "exec", "parse", "density", "size"] {
        assert!(text.contains(&format!("\n{scenario}: ")), "{scenario}: {text}");
    }
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    std::fs::remove_file(&file).unwrap();
    for name in ["floor", "hostel nspawn"] {
        let row = json["reports"][0]["rows"].as_array().unwrap().iter().find(|r| r["name"] == name).unwrap();
        assert_eq!((row["samples"].as_u64(), row["failed"].as_u64()), (Some(3), Some(0)), "{row}");
        assert!(row["ratio"]["median"].as_f64().unwrap() > 0.0);
    }
    // What others fail at is theirs.
    for row in json["reports"].as_array().unwrap().iter().filter_map(|report| report["rows"].as_array()).flatten() {
        let ours = row["name"].as_str().is_some_and(|name| name.starts_with("hostel") || name.starts_with("floor"));
        assert!(!ours || row["failed"].as_u64().unwrap_or(0) == 0, "{row}: {text}");
    }
    // Nothing of it is left.
    let left: Vec<_> = leftovers().into_iter().filter(|path| !before.contains(path)).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// Work directories and cgroups of benchmarks.
fn leftovers() -> Vec<std::path::PathBuf> {
    let entries = |dir: &str| std::fs::read_dir(dir).into_iter().flatten().flatten();
    let work = entries("/var/tmp").filter(|e| e.file_name().to_string_lossy().starts_with("hostel-bench-"));
    let groups = entries("/sys/fs/cgroup/unified").filter(|e| e.file_name() == "hostel-floor");
    work.chain(groups).map(|e| e.path()).collect()
}

#[test]
fn bad_command_lines() {
    for args in [&["nope"][..], &["start", "--rounds", "x"], &["start", "--rounds"]] {
        let Some((ok, text)) = bench(args) else { return };
        assert!(!ok && text.starts_with("hostel-bench: "), "{args:?}: {text}");
    }
    let Some((ok, text)) = bench(&["--help"]) else { return };
    assert!(ok && text.contains("scenarios:"), "{text}");
}
