//! systemctl of trees at rest: the same commands on the original and on ours, one after the other on a tree each; status,
//! output and links are compared. And what only ours does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hostel_tests::{Bed, Invocation, Outcome};

const UNITS: &str = "usr/lib/systemd/system";

/// `(path, text)`; a text that begins with `->` is a link.
#[rustfmt::skip]
const TREE: &[(&str, &str)] = &[
    ("usr/lib/systemd/system/a.service", "[Unit]\nDescription=A\n[Service]\nExecStart=/bin/a\n[Install]\nWantedBy=multi-user.target\nAlias=aa.service\nAlso=b.service\n"),
    ("usr/lib/systemd/system/b.service", "[Service]\nExecStart=/bin/b\n[Install]\nRequiredBy=multi-user.target\n"),
    ("usr/lib/systemd/system/static.service", "[Service]\nExecStart=/bin/s\n"),
    ("usr/lib/systemd/system/t@.service", "[Service]\nExecStart=/bin/t %i\n[Install]\nWantedBy=multi-user.target\nDefaultInstance=one\n"),
    ("usr/lib/systemd/system/n@.service", "[Service]\nExecStart=/bin/t %i\n[Install]\nWantedBy=multi-user.target\n"),
    ("usr/lib/systemd/system/ind.service", "[Service]\nExecStart=/bin/i\n[Install]\nAlso=a.service\n"),
    ("usr/lib/systemd/system/am.service", "[Service]\nExecStart=/b\n[Install]\nAlso=missing.service\nWantedBy=multi-user.target\n"),
    ("usr/lib/systemd/system/wr.service", "[Service]\nExecStart=/b\n[Install]\nWantedBy=a.service b.service gone.target\nWantedBy=\nWantedBy=other.target\n"),
    ("usr/lib/systemd/system/badal.service", "[Service]\nExecStart=/b\n[Install]\nAlias=badalias.socket\n"),
    ("usr/lib/systemd/system/spec.service", "[Service]\nExecStart=/b\n[Install]\nAlias=%p-%N.service\nWantedBy=%p.target\n"),
    ("usr/lib/systemd/system/multi-user.target", "[Unit]\nDescription=m\nAllowIsolate=yes\n"),
    ("usr/lib/systemd/system/graphical.target", "[Unit]\nDescription=g\nAllowIsolate=yes\n"),
    ("usr/lib/systemd/system/default.target", "->graphical.target"),
    ("usr/lib/systemd/system/alias.service", "->a.service"),
    ("usr/lib/systemd/system/masked.service", "->/dev/null"),
    ("usr/lib/systemd/system/x.socket", "[Socket]\nListenStream=/run/x\n[Install]\nWantedBy=sockets.target\n"),
    ("usr/lib/systemd/system/x.timer", "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n"),
    ("usr/lib/systemd/system/wanted.service", "[Service]\nExecStart=/bin/w\n"),
    ("usr/lib/systemd/system/multi-user.target.wants/wanted.service", "->../wanted.service"),
    ("etc/systemd/system/own.service", "[Service]\nExecStart=/bin/own\n[Install]\nWantedBy=multi-user.target\n"),
    ("etc/systemd/system/b.service.d/x.conf", "[Service]\nNice=1\n"),
    ("run/systemd/generator/gen.service", "[Service]\nExecStart=/bin/g\n"),
    ("root/x/l.service", "[Service]\nExecStart=/bin/l\n[Install]\nWantedBy=multi-user.target\n"),
    ("usr/lib/systemd/system-preset/90.preset", "# presets\nenable a.service\nenable t@.service x y\ndisable b.service\ndisable *\n"),
    ("etc/systemd/system-preset/10.preset", "enable x.socket\n"),
];

/// One after the other, on the same tree.
#[rustfmt::skip]
const COMMANDS: &[&str] = &[
    "list-unit-files", "list-unit-files --no-legend", "list-unit-files a*", "list-unit-files a.service b.service", "list-unit-files zz",
    "list-unit-files --type=target", "list-unit-files -t service,socket --state=static", "list-unit-files --state=enabled,alias", "list-unit-files --type=foo",
    "is-enabled a", "is-enabled b static alias", "is-enabled t@ t@one n@ n@x", "is-enabled ind masked gen", "is-enabled wanted own", "is-enabled nope", "is-enabled a nope b",
    "is-enabled -q a", "is-enabled -q static", "is-enabled x.socket x.timer", "is-enabled",
    "get-default", "get-default x",
    "enable a", "enable a", "is-enabled a b aa alias", "list-unit-files --state=enabled", "enable alias", "enable static", "enable -q static", "enable ind", "enable nope", "enable a nope",
    "enable masked", "enable badal", "enable am", "enable wr", "enable spec", "is-enabled spec", "disable spec",
    "enable n@", "enable n@x n@y", "is-enabled n@ n@x n@z", "enable t@", "enable t@two", "is-enabled t@ t@one t@two", "list-unit-files *@*",
    "disable n@x", "disable n@", "disable t@", "disable aa", "is-enabled a b", "disable nope", "disable static", "disable masked",
    "reenable a", "reenable b own", "reenable nope", "enable --runtime x.timer", "is-enabled x.timer", "disable x.timer", "disable --runtime x.timer", "is-enabled x.timer",
    "enable /root/x/l.service", "is-enabled l", "disable l", "link /root/x/l.service", "link /root/x/l.service", "is-enabled l", "list-unit-files l.service", "enable l", "disable l", "link /root/x/none.service", "link /root/x",
    "mask a", "mask a", "is-enabled a", "enable a", "disable a", "unmask a", "is-enabled a", "mask nope", "is-enabled nope", "unmask nope", "unmask b", "mask own", "mask --runtime b", "is-enabled b", "enable b",
    "unmask --runtime b", "mask x.socket x.timer", "list-unit-files x.*", "unmask x.socket x.timer",
    "preset a b", "is-enabled a b", "preset t@", "preset nope", "preset x.socket x.timer", "preset --preset-mode=disable-only a", "preset --preset-mode=enable-only b", "preset-all", "list-unit-files", "preset --preset-mode=x a",
    "add-wants multi-user static", "add-wants multi-user.target static.service", "add-requires multi-user.target own.service static", "add-wants nope.target a", "add-wants multi-user.target nope", "add-wants multi-user",
    "is-enabled static", "disable static",
    "revert b", "revert own", "mask a", "revert a", "revert nope", "is-enabled a b own",
    "set-default multi-user", "get-default", "set-default multi-user.target", "set-default nope.target", "set-default a.service", "set-default default.target", "set-default", "set-default graphical.target", "get-default",
    "enable --now a", "start a", "stop a", "status", "daemon-reexec", "is-system-running", "is-system-running -q", "frob", "--frob", "list-units", "-x",
];

/// The tree of a scenario.
fn plant(root: &Path) {
    for (path, text) in TREE {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("make directory");
        match text.strip_prefix("->") {
            Some(target) => std::os::unix::fs::symlink(target, &path).expect("make link"),
            None => std::fs::write(&path, text).expect("write unit"),
        }
    }
}

/// Every link and file below /etc and /run.
fn state(root: &Path) -> BTreeMap<String, String> {
    fn walk(root: &Path, directory: &Path, found: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root).expect("below the root").display().to_string();
            let kind = entry.file_type().expect("type");
            if kind.is_symlink() {
                found.insert(name, std::fs::read_link(&path).expect("read link").display().to_string());
            } else if kind.is_dir() {
                walk(root, &path, found);
            } else {
                found.insert(name, "file".to_owned());
            }
        }
    }
    let mut found = BTreeMap::new();
    for top in ["etc", "run"] {
        walk(root, &root.join(top), &mut found);
    }
    found
}

/// The original of a release: this system's, or that of a Debian tree by its own loader.
fn original(release: &str) -> Option<Invocation> {
    let is = |invocation: &Invocation| invocation.clone().arg("--version").run().text().starts_with(&format!("systemd {release} "));
    let own = Invocation::new("/usr/bin/systemctl");
    if Path::new("/usr/bin/systemctl").exists() && is(&own) {
        return Some(own);
    }
    let trees = std::env::var_os("HOSTEL_TREES").map_or_else(|| PathBuf::from("/var/tmp/hostel-trees"), PathBuf::from);
    ["debian", "trixie", "sid"].into_iter().find_map(|tree| {
        let tree = trees.join(tree);
        let lib = tree.join("usr/lib/x86_64-linux-gnu");
        let program = tree.join("usr/bin/systemctl");
        let loader = lib.join("ld-linux-x86-64.so.2");
        if !program.exists() || !loader.exists() {
            return None;
        }
        let path = format!("{}:{}", lib.display(), lib.join("systemd").display());
        let invocation = Invocation::new(loader).args(["--library-path", &path]).arg(program);
        is(&invocation).then_some(invocation)
    })
}

/// What is compared of a run: the tree's path is a word, lines whose order is the directory's are sorted, and our note that there
/// is nothing to enable has other words than theirs.
fn judged(outcome: &Outcome, root: &Path) -> (Option<i32>, String, Vec<String>) {
    let root = root.display().to_string();
    let errors = outcome.errors().replace(&root, "ROOT");
    let errors = errors.split("The unit files have no installation config").collect::<Vec<_>>();
    let noted = if errors.len() > 1 { "NOTHING TO ENABLE" } else { "" };
    let mut lines: Vec<String> = errors[0].lines().map(str::to_owned).chain([noted.to_owned()]).filter(|l| !l.is_empty()).collect();
    // getopt says its own name, which with a loader is a path
    for line in &mut lines {
        if let Some((_, rest)) = line.split_once("systemctl: ") {
            *line = format!("systemctl: {rest}");
        }
    }
    lines.sort();
    lines.dedup();
    (outcome.code, outcome.text().replace(&root, "ROOT"), lines)
}

/// What differs on purpose: `(release or *, command, why)`; then only that ours is a failure where theirs is.
#[rustfmt::skip]
const ACCEPTED: &[(&str, &str, &str)] = &[
    ("252", "enable --now a", "theirs looks for a manager; ours says as 262 that there is none"),
    ("*", "preset-all", "theirs goes in the order of the directory, and so may remove and remake a link; ours goes by name"),
    ("262", "frob", "theirs guesses what was meant"),
    ("262", "-x", "theirs does not use getopt any more"),
];

fn compare(release: &str) {
    let Some(bed) = Bed::start() else { return };
    let Some(theirs) = original(release) else {
        eprintln!("skipped: no systemctl {release}, neither here nor in a tree");
        return;
    };
    let (their_root, our_root) = (bed.fresh("theirs"), bed.fresh("ours"));
    plant(&their_root);
    plant(&our_root);
    let mut wrong = Vec::new();
    for command in COMMANDS {
        let words: Vec<&str> = command.split(' ').collect();
        let root = |path: &Path| format!("--root={}", path.display());
        let original = theirs.clone().arg(root(&their_root)).args(&words).run();
        let own = bed.hostel(["ctl", &format!("--compat={release}"), &root(&our_root)]).args(&words).run();
        let (a, b) = (judged(&original, &their_root), judged(&own, &our_root));
        let (links, own_links) = (state(&their_root), state(&our_root));
        let accepted = ACCEPTED.iter().any(|(r, c, _)| (*r == "*" || *r == release) && c == command);
        let same = if accepted { (a.0 == Some(0)) == (b.0 == Some(0)) } else { a == b };
        if !same || links != own_links {
            let odd = |x: &BTreeMap<String, String>, y: &BTreeMap<String, String>| {
                x.iter().filter(|(k, v)| y.get(*k) != Some(v)).map(|(k, v)| format!("{k} -> {v}")).collect::<Vec<_>>()
            };
            wrong.push(format!(
                "$ {command}\n  theirs {a:?}\n  ours   {b:?}\n  only theirs {:?}\n  only ours {:?}",
                odd(&links, &own_links),
                odd(&own_links, &links)
            ));
            // what follows is judged by itself
            for path in ["etc", "run"] {
                std::fs::remove_dir_all(our_root.join(path)).expect("remove");
                let copied = Invocation::new("/bin/cp").arg("-a").args([their_root.join(path), our_root.join(path)]).run();
                assert_eq!(copied.code, Some(0));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} commands differ from systemctl {release}:\n{}", wrong.len(), COMMANDS.len(), wrong.join("\n"));
    eprintln!("{} commands are as systemctl {release} has them", COMMANDS.len());
}

#[test]
fn as_systemctl_252() {
    assert!(COMMANDS.len() >= 80);
    compare("252");
}

#[test]
fn as_systemctl_262() {
    compare("262");
}

#[test]
fn shows_what_files_say() {
    let Some(bed) = Bed::start() else { return };
    let root = bed.fresh("tree");
    plant(&root);
    let ctl = |words: &[&str]| bed.hostel(["ctl", &format!("--root={}", root.display())]).args(words).limit(Duration::from_secs(20)).run();
    let cat = ctl(&["cat", "b"]).exits(0).text();
    assert!(cat.contains("/b.service\n[Service]\nExecStart=/bin/b\n") && cat.contains("/b.service.d/x.conf\n[Service]\nNice=1\n"), "{cat}");
    ctl(&["cat", "nope"]).exits(1);
    let show = ctl(&["show", "-p", "Id,LoadState,UnitFileState,Requires", "aa", "alias.service"]).exits(0).text();
    assert_eq!(
        show,
        "Id=aa.service\nLoadState=not-found\n\nId=a.service\nLoadState=loaded\nUnitFileState=disabled\nRequires=sysinit.target system.slice\n"
    );
    assert_eq!(ctl(&["show", "-P", "Description", "a"]).exits(0).text(), "A\n");
    let tree = ctl(&["list-dependencies", "multi-user.target"]).exits(0).text();
    assert_eq!(tree, "multi-user.target\n○ └─wanted.service\n");
    assert!(ctl(&["list-dependencies", "--reverse", "wanted"]).exits(0).text().contains("multi-user.target"));
    ctl(&["is-active", "a"]).exits(3).prints("inactive");
    ctl(&["is-active", "nope"]).exits(3).prints("inactive");
    ctl(&["--compat=262", "is-active", "nope"]).exits(4).prints("inactive");
    ctl(&["daemon-reload"]).exits(0).says_nothing();
}

#[test]
fn plans_a_start() {
    let Some(bed) = Bed::start() else { return };
    let root = bed.fresh("tree");
    plant(&root);
    let unit = |name: &str, text: &str| std::fs::write(root.join(UNITS).join(name), text).expect("write");
    unit("sysinit.target", "[Unit]\nDescription=s\n");
    unit("loop-a.service", "[Unit]\nRequires=loop-b.service\nAfter=loop-b.service\n[Service]\nExecStart=/bin/a\n");
    unit("loop-b.service", "[Unit]\nAfter=loop-a.service\n[Service]\nExecStart=/bin/a\n");
    let ctl = |words: &[&str]| bed.hostel(["ctl", &format!("--root={}", root.display())]).args(words).run();
    let text = ctl(&["start", "--dry-run", "a"]).exits(0).text();
    let order: Vec<&str> = text.lines().map(|line| line.split_whitespace().nth(1).unwrap_or_default()).collect();
    assert_eq!(order, ["-.slice", "sysinit.target", "system.slice", "a.service"], "{text}");
    assert!(ctl(&["start", "--dry-run", "loop-a"]).exits(1).errors().contains("cyclic"));
    ctl(&["start", "--dry-run", "nope"]).exits(5);
    assert!(ctl(&["start", "--dry-run", "masked"]).exits(1).errors().contains("is masked"));
    ctl(&["start", "a"]).exits(1);
}

#[test]
fn verifies_and_edits() {
    let Some(bed) = Bed::start() else { return };
    let root = bed.fresh("tree");
    plant(&root);
    let ctl = |words: &[&str]| bed.hostel(["ctl", &format!("--root={}", root.display())]).args(words);
    std::fs::create_dir_all(root.join("bin")).expect("make directory");
    std::fs::write(root.join("bin/own"), "").expect("write");
    std::fs::write(root.join(UNITS).join("sysinit.target"), "[Unit]\nDescription=s\n").expect("write");
    ctl(&["verify", "own"]).run().exits(0).says_nothing();
    let text = "[Unit]\nFrob=1\n[Service]\nType=frob\nExecStart=/bin/none\n";
    ctl(&["edit", "--stdin", "--full", "--force", "bad"]).input(text).run().exits(0);
    let said = ctl(&["verify", "bad"]).run().exits(1).errors();
    for expected in ["bad.service:2: Unknown key 'Frob'", "bad.service:4: Failed to parse Type=frob", "Command /bin/none is not executable"] {
        assert!(said.contains(expected), "{said}");
    }
    ctl(&["edit", "--stdin", "a"]).input("[Service]\nNice=3\n").run().exits(0);
    assert_eq!(std::fs::read_to_string(root.join("etc/systemd/system/a.service.d/override.conf")).expect("read"), "[Service]\nNice=3\n");
    ctl(&["edit", "--stdin", "a"]).input("[Service\n").run().exits(1);
    ctl(&["edit", "--stdin", "nope"]).input("[Service]\nNice=3\n").run().exits(1);
    ctl(&["edit", "a"]).run().exits(1);
    let bin = bed.fresh("bin");
    let editor = |name: &str, text: &str| hostel_tests::bundle::script(&bin.join(name), text);
    let adds = editor("adds", "for f in \"$@\"; do sed -i '1a [Service]\\nNice=4' \"$f\"; done");
    ctl(&["edit", "a", "own"]).env("SYSTEMD_EDITOR", &adds).run().exits(0);
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect("read");
    assert_eq!(read("etc/systemd/system/a.service.d/override.conf"), "[Service]\nNice=4\n\n[Service]\nNice=3\n");
    assert_eq!(read("etc/systemd/system/own.service.d/override.conf"), "[Service]\nNice=4\n");
    ctl(&["edit", "own", "--full"]).env("SYSTEMD_EDITOR", editor("full", "echo '# more' >> \"$1\"")).run().exits(0);
    assert!(read("etc/systemd/system/own.service").ends_with("# more\n"));
    ctl(&["edit", "own", "--drop-in=x"]).env("SYSTEMD_EDITOR", editor("empties", ": > \"$1\"")).run().exits(0).says("canceled");
    assert!(!root.join("etc/systemd/system/own.service.d/x.conf").exists());
    ctl(&["edit", "own"]).env("SYSTEMD_EDITOR", editor("fails", "exit 3")).run().exits(1).says("nothing is changed");
    let calendar = ctl(&["calendar", "Mon *:0/15"]).run().exits(0).text();
    assert!(calendar.contains("Normalized form: Mon *-*-* *:00/15:00\n"), "{calendar}");
}

/// Expressions of all kinds, valid or not: the normal form, and the next moment, as systemd-analyze has them.
#[test]
fn calendars_as_systemd_analyze() {
    let Some(bed) = Bed::start() else { return };
    if !Path::new("/usr/bin/systemd-analyze").exists() {
        eprintln!("skipped: there is no systemd-analyze");
        return;
    }
    let days = ["", "Mon ", "Sat,Sun ", "tue..Friday ", "Sun..Mon "];
    let dates = ["", "*-*-* ", "2030-1/2-5,1 ", "*-02~3 ", "*-*-31 ", "5..8-1..7/3 ", "99-1-1 ", "2031-13-1 ", "*-*~7/1 "];
    let times = ["", "6:00", "*:0/15", "8..20/4:30:15", "23:59:59", "24:00", "1,2,2:3:4..5"];
    let mut valid = 0;
    let field = |text: &str, name: &str| text.lines().find_map(|l| l.trim_start().strip_prefix(name).map(|v| v.trim().to_owned()));
    for i in 0..days.len() * dates.len() * times.len() {
        if i % 4 != 0 {
            continue;
        }
        let text = format!("{}{}{}", days[i % days.len()], dates[i % dates.len()], times[i % times.len()]);
        let text = text.trim();
        let theirs = Invocation::new("/usr/bin/systemd-analyze").args(["calendar", "--", text]).env("TZ", "UTC").run();
        let ours = bed.hostel(["ctl", "calendar", "--root=/", "--", text]).run();
        assert_eq!(theirs.code == Some(0), ours.code == Some(0), "{text:?}: {}", ours.errors());
        if ours.code != Some(0) {
            continue;
        }
        valid += 1;
        // theirs leaves the normal form out when it is what was written
        let normal = field(&theirs.text(), "Normalized form:").unwrap_or_else(|| text.to_owned());
        assert_eq!(field(&ours.text(), "Normalized form:"), Some(normal), "{text}");
        assert_eq!(field(&ours.text(), "Next elapse:"), field(&theirs.text(), "Next elapse:"), "{text}");
    }
    assert!(valid >= 40, "{valid}");
}

/// A tree is hostile: its links stay inside.
#[test]
fn links_of_a_tree_do_not_lead_out() {
    let Some(bed) = Bed::start() else { return };
    let (root, outside) = (bed.fresh("tree"), bed.fresh("outside"));
    plant(&root);
    std::fs::remove_dir_all(root.join("etc/systemd")).expect("remove");
    std::os::unix::fs::symlink(&outside, root.join("etc/systemd")).expect("link");
    std::fs::write(outside.join("secret.service"), "[Service]\nExecStart=/bin/secret\n").expect("write");
    std::os::unix::fs::symlink(outside.join("secret.service"), root.join(UNITS).join("secret.service")).expect("link");
    let ctl = |words: &[&str]| bed.hostel(["ctl", &format!("--root={}", root.display())]).args(words).run();
    ctl(&["enable", "a"]).exits(1);
    ctl(&["mask", "a"]).exits(1);
    ctl(&["cat", "secret"]).exits(1);
    assert_eq!(std::fs::read_dir(&outside).expect("list").count(), 1);
}
