//! OCI bundles whose tree, program or configuration is hostile: what they mount stays in the tree and locked, what is refused changes nothing.

use std::path::Path;
use std::process::Command;

use hostel_tests::bundle::{Bundle, script};
use hostel_tests::{Bed, Value};
use serde_json::json;

/// Root of a user namespace may mount, and yet takes nothing away of what the bundle mounted (mount_namespaces(7)).
#[test]
fn mounts_are_locked_with_own_users() {
    let Some(bed) = Bed::start() else { return };
    let data = bed.fresh("data").display().to_string();
    let bundle = Bundle::new(&bed)
        .set("/mounts/-", json!({"destination": "/ro", "type": "bind", "source": data, "options": ["rbind", "ro", "nosuid"]}))
        .set("/mounts/-", json!({"destination": "/hidden", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]}))
        .set("/process/oomScoreAdj", json!(77))
        .sh("for p in /proc/keys /sys/firmware /proc/sys /ro /hidden /dev /proc; do umount $p 2>/dev/null && echo \"$p unmounted\"; done
             for p in /ro /hidden /proc/sys /sys; do mount -o remount,bind,rw $p 2>/dev/null && echo \"$p writable\"; done
             mount -o remount,bind,ro,suid /ro 2>/dev/null && echo suid; touch /ro/x /hidden/x 2>/dev/null && echo written
             [ -e /hidden/secret ] && echo seen; mkdir /mnt/proc; mount -t proc proc /mnt/proc 2>/dev/null && echo 'proc without masks'
             mount -t tmpfs t /mnt && touch /mnt/x && umount /mnt && echo may mount; cat /proc/self/oom_score_adj; wc -c </proc/keys");
    std::fs::create_dir_all(bundle.at("hidden")).expect("mkdir");
    std::fs::write(bundle.at("hidden/secret"), "s").expect("write");
    let bundle = bundle.own_users();
    bundle.run(&bed, []).run().exits(0).prints("may mount\n77\n0");
}

#[test]
fn hooks_of_a_machine_with_own_users() {
    use std::os::unix::fs::MetadataExt;
    let Some(bed) = Bed::start() else { return };
    let told = bed.fresh("hooks").join("told");
    let tell = script(&told.with_file_name("tell"), &format!("cat >{}", told.display()));
    let bundle = Bundle::new(&bed);
    script(&bundle.at("hook"), "cat >/told; readlink /proc/self/ns/user /proc/self/ns/mnt >/where; umount /proc/keys");
    let bundle = bundle
        .set(
            "/hooks",
            json!({
                "createRuntime": [{"path": tell, "env": ["PATH=/usr/bin:/bin"]}],
                // The last status is that of an unmounting that has to fail: what follows the lock is behind it.
                "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "! /hook 2>/dev/null"], "env": ["PATH=/usr/bin:/bin"]}],
            }),
        )
        .sh("readlink /proc/self/ns/user /proc/self/ns/mnt | cmp - /where && echo same")
        .own_users();
    bundle.run(&bed, []).run().exits(0).prints("same");
    let read = |path: &Path| -> Value { serde_json::from_slice(&std::fs::read(path).expect("read state")).expect("JSON") };
    let (outside, inside) = (read(&told), read(&bundle.at("told")));
    assert_eq!((outside["status"].as_str(), inside["status"].as_str()), (Some("creating"), Some("created")));
    assert!(outside["pid"].as_i64().is_some_and(|pid| pid > 1), "{outside}");
    assert_eq!(inside["pid"], 1, "{inside}");
    assert_eq!(inside["bundle"], json!(bundle.path.display().to_string()));
    assert_eq!(std::fs::metadata(bundle.at("told")).expect("stat").uid(), 700_000);
}

#[test]
fn terminal_of_a_machine_with_own_users() {
    let Some(bed) = Bed::start() else { return };
    for pts in ["/dev/pts", "/terminals"] {
        let bundle = Bundle::new(&bed)
            .set("/process/terminal", json!(true))
            .set("/mounts/2/destination", json!(pts))
            .sh("tty; stat -c '%t %u' /dev/console; [ -t 0 ] && echo terminal")
            .own_users();
        let text = bundle.run(&bed, []).run().exits(0).text().replace('\r', "");
        assert!(text.ends_with("88 700000\nterminal\n") || text.ends_with("88 0\nterminal\n"), "{pts}: {text:?}");
        assert!(!text.contains("not a tty"), "{pts}: {text:?}");
    }
}

#[test]
fn hostile_trees_do_not_lead_out() {
    let Some(bed) = Bed::start() else { return };
    let trap = bed.fresh("trap");
    let up = format!("../../../../../../../..{}", trap.display());
    for (place, target) in [("dev", trap.display().to_string()), ("dev", up.clone()), ("proc", trap.display().to_string()), ("sys", up)] {
        let bundle = Bundle::new(&bed);
        let inside = bundle.at(place);
        let _ = std::fs::remove_dir_all(&inside);
        std::os::unix::fs::symlink(&target, &inside).expect("symlink");
        let out = bundle.run(&bed, []).run();
        assert_eq!(std::fs::read_dir(&trap).expect("read").count(), 0, "/{place} -> {target}: {}", out.describe());
        if place != "dev" {
            assert_ne!(out.code, Some(0), "{}", out.describe());
        }
    }
    // A target through links stays inside.
    let bundle = Bundle::new(&bed).set("/mounts/-", json!({"destination": "/out/x", "type": "tmpfs", "source": "tmpfs"}));
    std::os::unix::fs::symlink(&trap, bundle.at("out")).expect("symlink");
    bundle.run(&bed, []).run();
    assert_eq!(std::fs::read_dir(&trap).expect("read").count(), 0);
    // A directory of ours by descriptor (CVE-2024-21626).
    for number in [3, 5, 7, 9] {
        let bundle = Bundle::new(&bed).set("/process/cwd", json!(format!("/proc/self/fd/{number}"))).sh("pwd; ls");
        let out = bundle.run(&bed, []).through_shell("exec 9</; exec \"$@\"").run();
        assert_ne!(out.code, Some(0), "{}", out.describe());
    }
}

/// Nothing is made, run or mounted for a configuration that is refused.
#[test]
fn hostile_configurations_change_nothing() {
    let Some(bed) = Bed::start() else { return };
    let ran = bed.fresh("hooks").join("ran");
    let hook = script(&ran.with_file_name("hook"), &format!("touch {}", ran.display()));
    let base = || {
        Bundle::new(&bed)
            .set("/hooks", json!({"prestart": [{"path": hook, "env": ["PATH=/bin"]}], "poststop": [{"path": hook, "env": ["PATH=/bin"]}]}))
    };
    let refuses = |bundle: &Bundle, text: Option<&[u8]>, said: &str| {
        let before = entries(&bundle.path);
        bundle.write();
        if let Some(text) = text {
            std::fs::write(bundle.path.join("config.json"), text).expect("write");
        }
        let out = bed.hostel(["nspawn", "--register=no"]).arg(format!("--oci-bundle={}", bundle.path.display())).run().exits(1).says(said).prints("");
        assert!(out.errors().len() < 2000, "{}", out.describe());
        assert!(!ran.exists(), "{said}: a hook has run");
        let after = entries(&bundle.path);
        assert_eq!(before, after.into_iter().filter(|e| e != "config.json").collect::<Vec<_>>(), "{said}");
    };
    let bundle = base();
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(1 << 20), "]".repeat(1 << 20));
    refuses(&bundle, Some(deep.as_bytes()), "recursion limit");
    let huge = format!("{{\"ociVersion\":\"{}\"}}", "1".repeat(5 << 20));
    refuses(&bundle, Some(huge.as_bytes()), "larger than 4 MiB");
    refuses(&bundle, Some(b"[1, 2"), "read config.json");
    refuses(&bundle, Some(b"\xff\xfe\x00"), "read config.json");
    refuses(&bundle, Some(b""), "read config.json");
    for (pointer, value, said) in [
        ("/root", Value::Null, "config.json: root: it is missing"),
        ("/root/path", json!(""), "config.json: root.path: it is empty"),
        ("/root/path", json!({}), "config.json: root.path: it is no text"),
        ("/root/path", json!("no/such/tree"), "No such file"),
        ("/root/path", json!("config.json"), "Not a directory"),
        ("/root/path", json!("rootfs/../../../../../../../../.."), "host"),
        ("/root/path", json!("/"), "host"),
        ("/process/args", json!("sh"), "config.json: process.args: it is no list"),
        ("/process/cwd", json!("rel"), "config.json: process.cwd"),
        ("/mounts/-", json!({"destination": "/x", "type": 7}), "config.json: mounts[7].type: it is no text"),
        ("/mounts/-", json!({"destination": "/x", "source": "/no/such/source", "options": ["bind"]}), "/no/such/source"),
        ("/linux/maskedPaths", json!(["../proc/keys"]), "config.json: linux.maskedPaths"),
        ("/linux/readonlyPaths", json!([[]]), "config.json: linux.readonlyPaths[0]: it is no text"),
        ("/linux/sysctl", json!({"net/../kernel/hostname": "x"}), "config.json: linux.sysctl"),
    ] {
        refuses(&base().set(pointer, value), None, said);
    }
    // Not waited for, not read for ever.
    let bundle = base();
    let config = bundle.path.join("config.json");
    let made = Command::new("mkfifo").arg(&config).status().expect("mkfifo");
    assert!(made.success());
    let run = || bed.hostel(["nspawn"]).arg(format!("--oci-bundle={}", bundle.path.display())).run().exits(1);
    run().says("it is no regular file");
    std::fs::remove_file(&config).expect("remove");
    std::os::unix::fs::symlink("/dev/zero", &config).expect("symlink");
    run().says("it is no regular file");
    assert!(!ran.exists());
}

/// What a bundle mounts lies in its tree, wherever links and `..` of its targets lead.
#[test]
fn targets_stay_in_the_tree() {
    let Some(bed) = Bed::start() else { return };
    let trap = bed.fresh("trap");
    let data = bed.fresh("data");
    std::fs::write(data.join("file"), "data\n").expect("write");
    let up = format!("{}{}", "/..".repeat(12), trap.display());
    let source = data.display().to_string();
    for users in [false, true] {
        let bundle = Bundle::new(&bed);
        std::os::unix::fs::symlink(&trap, bundle.at("absolute")).expect("symlink");
        std::os::unix::fs::symlink(format!("..{up}"), bundle.at("relative")).expect("symlink");
        let bundle = bundle
            .set("/mounts/-", json!({"destination": up, "type": "tmpfs", "source": "tmpfs"}))
            .set("/mounts/-", json!({"destination": "/absolute/a", "type": "bind", "source": source, "options": ["bind"]}))
            .set("/mounts/-", json!({"destination": "/relative/b", "type": "tmpfs", "source": "tmpfs"}))
            .set(
                "/mounts/-",
                json!({"destination": "absolute/../absolute/c", "type": "bind", "source": format!("{source}/file"), "options": ["bind", "ro"]}),
            )
            .set("/linux/maskedPaths", json!(["/relative/b", "/absolute/c", up]))
            .set("/linux/readonlyPaths", json!(["/absolute/a", format!("{up}/a")]))
            .set("/linux/devices", json!([{"path": "/relative/null", "type": "c", "major": 1, "minor": 3}, {"path": "/absolute/pipe", "type": "p"}]))
            .sh("true");
        let bundle = if users { bundle.set("/linux/devices", json!([])).own_users() } else { bundle };
        bundle.run(&bed, []).run();
        assert_eq!(std::fs::read_dir(&trap).expect("read").count(), 0);
        assert_eq!(entries(&data), [".", "file"]);
    }
    // /proc and what belongs there cannot be put elsewhere or be faked: kernel parameters are written to the kernel.
    let bundle = Bundle::new(&bed)
        .set("/mounts/-", json!({"destination": "/proc", "type": "tmpfs", "source": "tmpfs"}))
        .set("/mounts/-", json!({"destination": "/proc/sys/kernel", "type": "bind", "source": source, "options": ["bind"]}))
        .set("/linux/sysctl", json!({"kernel.msgmax": "4243"}))
        .set("/linux/readonlyPaths", json!([]))
        .sh("umount /proc/sys/kernel 2>/dev/null; ls /proc /proc/sys/kernel | tr '\\n' ' '");
    bundle.run(&bed, []).run().exits(0).prints_with("sys");
    assert_eq!(entries(&data), [".", "file"], "nothing is written where the tree says /proc/sys is");
}

/// Every file of a directory tree, by its path in it.
fn entries(top: &Path) -> Vec<String> {
    let found = Command::new("find").arg(".").current_dir(top).output().expect("find");
    let mut list: Vec<String> = String::from_utf8_lossy(&found.stdout).lines().map(|l| l.trim_start_matches("./").to_owned()).collect();
    list.retain(|e| e != "config.json");
    list.sort();
    list
}
