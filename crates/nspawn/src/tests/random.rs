//! Random command lines: nothing panics, every error is one line, and what compiles survives a round trip through JSON.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use proptest::prelude::*;

use super::environment;
use crate::options::rows;
use crate::{Action, fold, parse};

fn names() -> Vec<String> {
    rows().flat_map(|r| r.long.iter().map(|l| format!("--{l}")).chain(r.short.map(|s| format!("-{}", s as char)))).collect()
}

/// Pieces that mean something to one value parser or another.
const PIECES: &[&str] = &[
    "",
    "/",
    "/a",
    "../",
    "..",
    ":",
    "::",
    "\\:",
    "\\",
    "+",
    "+/a",
    "~",
    "@mount",
    "=",
    "A=",
    "=x",
    ",",
    "-",
    "--",
    "0",
    "1",
    "65535",
    "65536",
    "4294967295",
    "18446744073709551615",
    "99999999999999999999",
    "%",
    "50%",
    "K",
    "1G",
    "infinity",
    "help",
    "all",
    "yes",
    "no",
    "pick",
    "\n",
    "ä",
    "\u{202e}",
    "cap_sys_admin",
    "NOFILE=",
    "MemoryMax=",
    "CPUQuota=",
    "DeviceAllow=/dev/",
    "rwm",
    "0-3",
    "3-1",
    "\"",
    "'",
    "x86",
    "RTMIN+3",
    "1min",
    " ",
];

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(prop::sample::select(PIECES), 0..5).prop_map(|p| p.concat().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        1 => Just(vec![b'x'; 70]),
        1 => Just(b"/a".repeat(4000)),
    ]
}

fn word() -> impl Strategy<Value = OsString> {
    let name = prop::sample::select(names());
    prop_oneof![
        4 => (name.clone(), value()).prop_map(|(n, v)| [n.as_bytes(), b"=", &v].concat()),
        2 => name.clone().prop_map(String::into_bytes),
        1 => (name, 2usize..30).prop_map(|(mut n, cut)| { n.truncate(cut); n.into_bytes() }),
        1 => value(),
        1 => "-[a-zA-Z]{1,5}".prop_map(String::into_bytes),
    ]
    .prop_map(OsString::from_vec)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_panics(words in prop::collection::vec(word(), 0..8)) {
        let env = environment(&[("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network")]);
        let doc = fold(&words);
        prop_assert!(doc.entries.len() + doc.payload.len() <= words.iter().map(|w| w.len().max(1)).sum());
        let _ = doc.dump();
        match parse(&words, &env) {
            Ok(Action::Run(spec)) => {
                let json = serde_json::to_string(&spec).unwrap();
                let back: hostel_spec::MachineSpec = serde_json::from_str(&json).unwrap();
                prop_assert_eq!(*spec, back);
            }
            Ok(Action::Print(text)) => prop_assert!(text.ends_with('\n') || text.is_empty()),
            Ok(_) => {}
            Err(error) => {
                for text in [error.to_string(), format!("{:?}", error.hint())] {
                    prop_assert!(!text.chars().any(char::is_control), "{:?}", text);
                    prop_assert!(text.len() < 4000);
                }
            }
        }
    }

    #[test]
    fn random_environment(name in prop::sample::select(vec!["SYSTEMD_NSPAWN_API_VFS_WRITABLE", "SYSTEMD_NSPAWN_CONTAINER_SERVICE", "SYSTEMD_NSPAWN_SHARE_SYSTEM",
            "SYSTEMD_NSPAWN_TMPFS_TMP", "SYSTEMD_SECCOMP", "SYSTEMD_NSPAWN_NETWORK_MAC", "SYSTEMD_NSPAWN_USE_CGNS"]), value in value()) {
        let mut env = environment(&[]);
        env.vars.push((name.into(), OsString::from_vec(value)));
        let _ = parse(&["-b".into(), "-n".into()], &env);
    }
}
