use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::{Config, Files, global, keys, legacy, usernet};

/// No files but these; every digit is 7.
#[derive(Default)]
struct Here(BTreeMap<&'static str, &'static str>);

impl Files for Here {
    fn read(&mut self, path: &str) -> Result<Vec<(String, String)>, &'static str> {
        if path.ends_with(".d") {
            return Ok(self.0.iter().filter(|(name, _)| name.starts_with(path)).map(|(name, text)| (name.to_string(), text.to_string())).collect());
        }
        self.0.get(path).map(|text| vec![(path.to_owned(), text.to_string())]).ok_or("No such file or directory")
    }
    fn digit(&mut self) -> u8 {
        7
    }
}

pub(crate) fn loaded(text: &str) -> Config {
    let mut config = Config::default();
    config.load("config", text, &mut Here::default()).unwrap();
    config
}

/// Words of a step at which 5.0.2 answers otherwise, and why ours is not the same.
const DIFFERS: &[(&str, &str)] = &[
    ("lxc.arch ", "an empty value clears, as of every key"),
    ("lxc.autodev.tmpfs.size ", "what is no number is refused, not taken for the default"),
    ("lxc.console.buffer.size 5K", "a unit that there is not is refused, not dropped"),
    ("lxc.console.size 5K", "a unit that there is not is refused, not dropped"),
    ("lxc.environment =x", "a variable has a name"),
    ("lxc.environment A", "a name alone is the caller's variable, since 6.0"),
    ("lxc.environment.", "keys of 7.0"),
    ("lxc.hook.version x", "what is no number is refused, not taken for 0"),
    ("lxc.init.gid ", "what is no id is refused, not taken for 0 or -1"),
    ("lxc.init.uid ", "what is no id is refused, not taken for 0 or -1"),
    ("lxc.monitor.signal.pdeath ", "a number that is no signal is refused; cleared is as never set"),
    ("lxc.monitor.unshare 2", "0 or 1"),
    ("lxc.mount.auto cgroup", "what is set is shown: with force, and of version 2"),
    ("lxc.mount.auto shmounts:", "what is set is shown; without a path it is refused"),
    ("lxc.mount.fstab ", "an empty value clears, as of every key"),
    ("lxc.net.0.flags ", "words other than `up` are refused, not taken for it"),
    ("lxc.net.0.hwaddr ", "what is no hardware address is refused here, not by the kernel at the start"),
    ("lxc.net.0.ipv6.address fe80::1/129", "a prefix longer than an address is refused"),
    ("lxc.net.0.link xxxxxxxxxxxxxxxx", "a name that is too long is refused, not cut"),
    ("lxc.net.0.mtu ", "what is no number is refused here, not by the kernel at the start"),
    ("lxc.net.0.name xxxxxxxxxxxxxxxx", "a name that is too long is refused, not cut"),
    ("lxc.net.0.type", "all keys of the type are listed; a refused type makes no interface"),
    ("lxc.cgroup. x", "a cgroup's file has a name"),
    ("lxc.cgroup2. x", "a cgroup's file has a name"),
    ("lxc.proc.oom_score_adj", "set twice is set once"),
    ("lxc.seccomp.allow_nesting ", "0 or 1"),
    ("lxc.signal.", "a number that is no signal is refused"),
    ("lxc.start.delay 4294967295", "shown as it was set"),
    ("lxc.time.offset", "hours back are taken, as hours on"),
];

#[test]
fn as_stock_answers() {
    let unescaped = |text: &str| text.replace("\\n", "\n").replace("\\t", "\t").replace("\\\\", "\\");
    let (mut config, mut steps, mut wrong, mut refused) = (None::<Config>, Vec::new(), Vec::new(), false);
    let mut needed = vec![false; DIFFERS.len()];
    for line in include_str!("../tests/stock.txt").lines() {
        let words: Vec<&str> = line.split('\t').collect();
        let (ours, theirs) = match words[..] {
            ["case"] => {
                (config, refused) = (None, false);
                steps.clear();
                continue;
            }
            ["set", key, value, theirs] => {
                let done = config.get_or_insert_default().set(key, &unescaped(value), &mut Here::default());
                (if done.is_ok() { "ok" } else { "no" }.to_owned(), theirs.to_owned())
            }
            ["clear", key, theirs] => {
                let done = config.get_or_insert_default().clear(key);
                (if done.is_ok() { "ok" } else { "no" }.to_owned(), theirs.to_owned())
            }
            ["get", key, theirs] => {
                let got = config.as_ref().and_then(|config| config.get(key).ok());
                (got.map_or("-".to_owned(), |got| format!("={got}")), unescaped(theirs))
            }
            ["keys", key, theirs] => {
                let got = config.as_ref().and_then(|config| config.keys(Some(key)).ok());
                (got.map_or("-".to_owned(), |got| format!("={}\n", got.join("\n"))), unescaped(theirs))
            }
            _ => panic!("{line}"),
        };
        steps.push(words[1..words.len() - 1].join(" "));
        // what was refused changed theirs in part; what is not set is shown as C shows a null; 6.0 has its offsets without a blank and an end
        let theirs = theirs.replace("(null)", "").replace("(invalid)", ours.trim_start_matches('='));
        let theirs = if line.contains("lxc.time.offset.") { theirs.replace(" ns", "ns").replace(" s", "s").trim_end().to_owned() } else { theirs };
        refused |= theirs == "no";
        if ours != theirs && !(refused && line.starts_with("get")) {
            match DIFFERS.iter().position(|(words, _)| steps.iter().any(|step| step.starts_with(words))) {
                Some(at) => needed[at] = true,
                None => wrong.push(format!("{}\t{ours:?}\t{theirs:?}", steps.join(" | "))),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let idle: Vec<_> = DIFFERS.iter().zip(needed).filter(|(_, needed)| !needed).map(|(entry, _)| entry.0).collect();
    assert!(idle.is_empty(), "nothing needs {idle:?}");
}

#[test]
fn what_is_saved_is_what_was_written() {
    let text = "# Template used: busybox\n\n  lxc.uts.name = 'a b' \nother = 1\nlxc.net.0.type=veth\nlxc.net.0.hwaddr = 00:16:3e:xx:xx:xx\nlxc.include = /more\n";
    let mut config = Config::default();
    let mut files = Here(BTreeMap::from([("/more", "lxc.group = more\n")]));
    config.load("config", text, &mut files).unwrap();
    assert_eq!(config.get("lxc.uts.name").unwrap(), "a b");
    assert_eq!(config.get("lxc.group").unwrap(), "more\n");
    assert_eq!(config.get("lxc.net.0.hwaddr").unwrap(), "00:16:3e:77:77:77", "chosen once");
    assert_eq!(config.text(), text.replace("xx:xx:xx", "77:77:77"), "nothing but that is changed");

    config.set("lxc.uts.name", "c", &mut files).unwrap();
    config.set("lxc.group", "d", &mut files).unwrap();
    config.set("lxc.tty.max", "x", &mut files).unwrap_err();
    config.set("lxc.uts.name", "a\nlxc.hook.start = /x", &mut files).unwrap_err();
    assert!(
        config.text().ends_with("lxc.include = /more\nlxc.uts.name = c\nlxc.group = d\n") && !config.text().contains("'a b'"),
        "{}",
        config.text()
    );
    // read again it is the same
    let mut again = Config::default();
    again.load("config", &config.text(), &mut files).unwrap();
    for key in config.keys(None).unwrap() {
        assert_eq!(again.get(key), config.get(key));
    }

    config.clear("lxc.net").unwrap();
    config.set("lxc.uts.name", "", &mut files).unwrap();
    assert!(!config.text().contains("lxc.net") && !config.text().contains("uts"), "{}", config.text());
    assert!(config.interfaces().is_empty() && config.value("lxc.uts.name").is_none());
}

#[test]
fn an_interface_of_another_type_begins_anew() {
    let mut config = loaded("lxc.net.0.type = veth\nlxc.net.0.veth.pair = v0\nlxc.net.0.name = e\n");
    config.set("lxc.net.0.type", "macvlan", &mut Here::default()).unwrap();
    assert_eq!(config.text(), "lxc.net.0.type = macvlan\n");
    assert_eq!(config.get("lxc.net.0.name").unwrap(), "");
    assert_eq!(config.get("lxc.net.0.veth.pair").unwrap_err().to_string(), "lxc.net.0.veth.pair: an interface of its type has no such key");
}

#[test]
fn faults_say_where() {
    let fault = |text: &str| {
        let mut files = Here(BTreeMap::from([("/self", "lxc.include = /self\n"), ("/bad", "\nlxc.bogus = 1\n")]));
        let mut config = loaded("lxc.uts.name = before\n");
        let before = config.clone();
        let fault = config.load("config", text, &mut files).unwrap_err().to_string();
        assert_eq!(config, before, "{text}");
        fault
    };
    assert_eq!(fault("\nlxc.bogus = 1\n"), "config:2: lxc.bogus: there is no such key");
    assert_eq!(fault("lxc.uts.name\n"), "config:1: it is no `key = value`");
    assert_eq!(fault("lxc.cap.drop = mknod # no comment\n"), "config:1: lxc.cap.drop = mknod # no comment: there is no capability of this name");
    assert_eq!(fault("lxc.include = /gone\n"), "config:1: include /gone: No such file or directory");
    assert_eq!(fault("lxc.include = /bad\n"), "config:1: /bad:2: lxc.bogus: there is no such key");
    assert!(fault("lxc.include = /self\n").ends_with("/self includes itself"));
    assert_eq!(fault("lxc.network.link = br0\n"), "config:1: lxc.network.link: lxc.network.type comes first");
    assert_eq!(fault(&"#\n".repeat(600_000)), "config: it has more than 1 MiB");
}

#[test]
fn names_of_old_load_with_a_word() {
    let text = "lxc.utsname = a\nlxc.network.type = veth\nlxc.network.link = br0\nlxc.network.ipv4 = 10.0.0.2/24\nlxc.network.type = empty\nlxc.limit.nofile = 5\nlxc.kmsg = 0\nlxc.rootfs = overlay:/a:/b\n";
    let mut config = Config::default();
    let said = config.load("config", text, &mut Here::default()).unwrap().warnings;
    assert_eq!(said.len(), 8, "{said:?}");
    assert_eq!(said[0], "config:1: lxc.utsname is called lxc.uts.name since LXC 3.0");
    assert_eq!(said[6], "config:7: lxc.kmsg is no key since LXC 3.0, and has no effect");
    assert_eq!(config.get("lxc.net").unwrap(), "veth\nempty\n");
    assert_eq!(config.get("lxc.net.0.ipv4.address").unwrap(), "10.0.0.2/24");
    assert_eq!(config.get("lxc.prlimit.nofile").unwrap(), "5");
    assert_eq!(config.root(), Some((Some("overlay"), "/a:/b")));
    assert_eq!(config.text(), text, "saved as it was");
    assert!(legacy::modern("lxc.uts.name").is_none());
}

#[test]
fn rows_belong_together() {
    let mut names: Vec<_> = keys::ROWS.iter().map(|row| row.name).chain(keys::NET.iter().map(|net| net.row.name)).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "a key has one row");
    for row in keys::ROWS.iter().chain(keys::NET.iter().map(|net| &net.row)) {
        assert!(!row.help.is_empty() && !row.help.ends_with('.'), "{}", row.name);
    }
    // every key that stock lists is listed, and nothing that it does not know but the keys of 7.0
    let ours = Config::default().keys(None).unwrap();
    assert_eq!(ours.len(), 84 + 2, "{ours:?}");
}

#[test]
fn global_items() {
    assert_eq!(global::item("", "lxc.lxcpath"), Some("/var/lib/lxc"));
    assert_eq!(global::item("# lxc.lxcpath = /no\n lxc.lxcpath = /srv/lxc # here\n", "lxc.lxcpath"), Some("/srv/lxc"));
    assert_eq!(global::item("", "lxc.bogus"), None);
}

#[test]
fn users_of_bridges() {
    let text = "# who\nann veth br0 2\n@admin veth br0 3\nann veth br1 9\nann veth br0 x\nbob macvlan br0 1\n";
    assert_eq!(usernet::allowed(text, "ann", &["admin"], "veth", "br0"), 5);
    assert_eq!(usernet::allowed(text, "ann", &[], "veth", "br0"), 2);
    assert_eq!(usernet::allowed(text, "bob", &[], "veth", "br0"), 0);
}

proptest! {
    /// Any text loads or is refused; what loads is saved as it was, and loads again as the same.
    #[test]
    fn any_text(text in "((lxc\\.(uts\\.name|net\\.0\\.(type|link|ipv4\\.address)|cap\\.(drop|keep)|cgroup2\\.[a-z.]{0,9}|mount\\.(auto|entry)|idmap|include|network\\.[a-z]{0,5}|[a-z.]{0,9})|#|[a-z]{0,5})[ =]{0,3}[ -~]{0,12}\\n){0,8}") {
        let mut config = Config::default();
        if config.load("config", &text, &mut Here::default()).is_ok() {
            let saved = config.text();
            let mut again = Config::default();
            again.load("config", &saved, &mut Here::default()).unwrap();
            prop_assert_eq!(&again, &config);
            for key in config.keys(None).unwrap() {
                let _ = config.get(key);
                config.clear(key).unwrap();
            }
            prop_assert!(config.below("lxc.").next().is_none());
        }
    }
}
