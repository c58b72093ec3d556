use super::options::{Asked, Call, parse};
use super::*;

fn call(tool: &str, words: &[&str]) -> Result<Call, String> {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    match parse(find(tool).unwrap(), &words)? {
        Asked::Run(call) => Ok(call),
        Asked::Text(text) => Err(text),
    }
}

#[test]
fn command_lines_are_read_as_getopt_does() {
    for words in [&["-n", "c", "-sH"][..], &["-nc", "-H", "-s"], &["c", "--state", "--no-h"], &["--name=c", "-Hs"], &["-sHnc"]] {
        let call = call("lxc-info", words).unwrap();
        assert_eq!((call.name.as_str(), call.has("state"), call.has("no-humanize"), call.has("pid")), ("c", true, true, false), "{words:?}");
    }
    let made = call("lxc-create", &["-t", "busybox", "c", "--", "--busybox-path", "/b"]).unwrap();
    assert_eq!((made.name.as_str(), made.value("template"), made.words.len()), ("c", Some("busybox"), 2));
    assert_eq!(call("lxc-info", &["-n", "c", "-ca", "-c", "b"]).unwrap().values("config").collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(call("lxc-ls", &["--nesting"]).unwrap().value("nesting"), Some(""));
    assert_eq!(call("lxc-wait", &["c", "-t", "x"]).unwrap().number("timeout", 1).unwrap_err().text, "read --timeout x: it is no number");
    assert_eq!(call("lxc-wait", &["c"]).unwrap().number("timeout", 1).unwrap(), 1);
    for (words, why) in [
        (&["-s"][..], "No container name specified"),
        (&["c", "-z"], "there is no option '-z'"),
        (&["c", "--bogus"], "unrecognized option '--bogus'"),
        (&["c", "--s"], "option '--s' is the beginning of several"),
        (&["c", "--state=1"], "option '--state' takes no value"),
        (&["c", "-c"], "option '-c' takes a value"),
        (&["--version"], "6.0.4\n"),
    ] {
        assert_eq!(call("lxc-info", words).err().as_deref(), Some(why), "{words:?}");
    }
}

#[test]
fn names_and_letters_mean_one_thing() {
    // lxc-config has another -l than all, as the original
    for tool in TOOLS.iter().filter(|tool| tool.name != "lxc-config") {
        let help = options::help(tool);
        let mut rows: Vec<&str> = help.lines().filter(|line| line.starts_with("  ")).map(|line| line[2..].split(' ').next().unwrap()).collect();
        rows.retain(|letter| letter.starts_with('-') && !letter.starts_with("--"));
        let all = rows.len();
        rows.sort_unstable();
        rows.dedup();
        assert_eq!(rows.len(), all, "{}: {rows:?}", tool.name);
    }
}
