use hostel_unit::UnitName;

use super::*;
use crate::keys;
use crate::testing::Tree;

#[test]
fn layers() {
    let tree = Tree::new("load-layers");
    tree.unit("foo-bar.service", "[Unit]\nDescription=vendor\nAfter=a.service\n[Service]\nExecStart=/bin/a\nEnvironment=A=1\n[X-Own]\nx=y\n");
    tree.file("/usr/lib/systemd/system/service.d/10-all.conf", "[Service]\nEnvironment=ALL=1\n");
    tree.file("/usr/lib/systemd/system/foo-.service.d/20-prefix.conf", "[Service]\nNice=3\n");
    tree.file("/etc/systemd/system/foo-bar.service.d/30-own.conf", "[Unit]\nAfter=\nDescription=own\n[Service]\nExecStart=\nExecStart=/bin/b %n\n");
    tree.file("/usr/lib/systemd/system/foo-bar.service.d/30-own.conf", "[Unit]\nDescription=hidden\n");
    tree.file("/run/systemd/system/foo-bar.service.d/40.conf", "[Service]\nType=frob\nBogus=1\nBogus=2\nnonsense\n[Frob]\nx=1\n");
    tree.link("alias.service", "foo-bar.service");
    tree.link_at("/etc/systemd/system/foo-bar.service.wants/w.service", "/usr/lib/systemd/system/w.service");
    tree.link_at("/etc/systemd/system/alias.service.requires/r.service", "../r.service");
    let unit = tree.load("alias.service");
    assert_eq!(unit.state, LoadState::Loaded);
    assert_eq!((unit.name.as_str(), unit.description()), ("foo-bar.service", "own"));
    assert_eq!(unit.aliases.iter().map(UnitName::as_str).collect::<Vec<_>>(), ["alias.service"]);
    assert_eq!(
        unit.dropins.iter().map(|d| d.rsplit_once('/').unwrap().1).collect::<Vec<_>>(),
        ["10-all.conf", "20-prefix.conf", "30-own.conf", "40.conf"]
    );
    assert!(unit.dropins[2].starts_with("/etc/"));
    let commands: Vec<_> = unit.settings.commands("Service", "ExecStart").map(|c| c.argv.clone()).collect();
    assert_eq!(commands, [vec!["/bin/b", "foo-bar.service"]]);
    // dependencies are not taken back by an empty value
    assert_eq!(unit.settings.units("Unit", "After").count(), 1);
    assert_eq!(unit.settings.words("Service", "Environment").collect::<Vec<_>>(), ["A=1", "ALL=1"]);
    let mut ties: Vec<_> = unit.ties.iter().map(|t| (t.kind.suffix(), t.to.as_str())).collect();
    ties.sort_unstable();
    assert_eq!(ties, [("requires", "r.service"), ("wants", "w.service")]);
    let notices: Vec<_> = unit.notices.iter().map(|n| (n.line, n.text.as_str())).collect();
    assert_eq!(notices.len(), 4, "{notices:?}");
    assert!(notices.contains(&(3, "Unknown key 'Bogus' in section [Service], ignoring.")));
    assert!(notices.contains(&(6, "Unknown section 'Frob'. Ignoring.")));
}

#[test]
fn names_that_lead_elsewhere() {
    let tree = Tree::new("load-names");
    tree.unit("t@.service", "[Unit]\nDescription=T %i %I %p %j\n[Service]\nExecStart=/bin/t %f\n");
    tree.link("u@.service", "t@.service");
    tree.link("one.service", "t@one.service");
    tree.link("masked.service", "/dev/null");
    tree.file("/etc/systemd/system/empty.service", "");
    tree.link("dangling.service", "/nowhere/dangling.service");
    tree.link("wrong.socket", "t@one.service");
    tree.link("loop-a.service", "loop-b.service");
    tree.link("loop-b.service", "loop-a.service");
    tree.file("/opt/l/linked.service", "[Service]\nExecStart=/bin/l\n");
    tree.link_at("/etc/systemd/system/linked.service", "/opt/l/linked.service");
    tree.link_at("/etc/systemd/system/out.service", "/../../../../../../opt/l/linked.service");
    let state = |name| tree.load(name).state;
    let t = tree.load("t@a-b.service");
    assert_eq!((t.description(), t.state.clone()), ("T a-b a/b t t", LoadState::Loaded));
    assert_eq!(t.settings.commands("Service", "ExecStart").next().unwrap().argv[1], "/a/b");
    assert_eq!(tree.load("u@x.service").name.as_str(), "t@x.service");
    assert_eq!(state("t@.service"), LoadState::Loaded);
    assert!(matches!(state("one.service"), LoadState::Error(_)));
    for name in ["masked.service", "empty.service"] {
        assert_eq!(state(name), LoadState::Masked, "{name}");
    }
    assert_eq!(state("dangling.service"), LoadState::NotFound);
    assert_eq!(state("nothing.service"), LoadState::NotFound);
    assert!(matches!(state("wrong.socket"), LoadState::Error(_)));
    assert!(matches!(state("loop-a.service"), LoadState::Error(_)));
    assert_eq!(tree.load("linked.service").fragment.as_deref(), Some("/opt/l/linked.service"));
    assert_eq!(state("out.service"), LoadState::Loaded);
    assert_eq!(state("system.slice"), LoadState::Loaded);
}

#[test]
fn refused_settings() {
    let tree = Tree::new("load-refused");
    for (i, (text, fault)) in [
        ("[Service]\nType=oneshot\n", "no ExecStart=, ExecStop="),
        ("[Service]\nExecStop=/bin/a\nType=simple\n", "only allowed for Type=oneshot"),
        ("[Service]\nExecStart=/bin/a\nExecStart=/bin/b\n", "more than one"),
        ("[Service]\nExecStart=/bin/a\nType=oneshot\nRestart=always\n", "Restart="),
        ("[Service]\nExecStart=/bin/a\nType=dbus\n", "D-Bus"),
    ]
    .into_iter()
    .enumerate()
    {
        tree.unit(&format!("s{i}.service"), text);
        let LoadState::BadSetting(why) = tree.load(&format!("s{i}.service")).state else { panic!("{text}") };
        assert!(why.contains(fault), "{why}");
    }
    tree.file("/usr/lib/systemd/system/broken.service", "[Service\nExecStart=/bin/a\n");
    assert!(matches!(tree.load("broken.service").state, LoadState::Error(why) if why.contains("broken.service:1:")));
    tree.unit("e.timer", "[Timer]\nOnCalendar=daily\nOnBootSec=1\nOnCalendar=\n");
    assert!(matches!(tree.load("e.timer").state, LoadState::BadSetting(_)));
    tree.unit("srv.mount", "[Mount]\nWhat=x\nWhere=/elsewhere\n");
    assert!(matches!(tree.load("srv.mount").state, LoadState::BadSetting(_)));
}

#[test]
fn scripts() {
    let tree = Tree::new("load-scripts");
    tree.unit("multi-user.target", "[Unit]\nDescription=m\n");
    tree.file("/etc/init.d/slapd", "#!/bin/sh\n### BEGIN INIT INFO\n# Required-Start: $network\n# Short-Description: OpenLDAP\n### END INIT INFO\n");
    tree.link_at("/etc/rc3.d/S01slapd", "../init.d/slapd");
    let unit = tree.load("slapd.service");
    assert!(unit.is_loaded() && unit.is_script);
    assert_eq!(unit.description(), "LSB: OpenLDAP");
    assert_eq!(unit.settings.text("Service", "Type"), Some("forking"));
    assert_eq!(unit.settings.commands("Service", "ExecStart").next().unwrap().argv, ["/etc/init.d/slapd", "start"]);
    assert_eq!(tree.load("multi-user.target").ties[0].to.as_str(), "slapd.service");
    // a native unit counts instead
    tree.link("slapd.service", "/dev/null");
    assert_eq!(tree.load("slapd.service").state, LoadState::Masked);
    assert!(tree.load("multi-user.target").ties.is_empty());
}

/// What nobody writes: files without end, that name themselves, or that name everything; links that lead in circles.
#[test]
fn bad_files() {
    let tree = Tree::new("load-bad");
    let error = |name: &str| match tree.load(name).state {
        LoadState::Error(why) => why,
        other => panic!("{name}: {other:?}"),
    };
    let line = "Environment=A=1\n";
    tree.unit("huge.service", &format!("[Service]\nExecStart=/bin/a\n{}", line.repeat((10 << 20) / line.len())));
    assert!(error("huge.service").contains("it is too large"), "{}", error("huge.service"));
    let holes = std::fs::File::create(tree.path.join("usr/lib/systemd/system/holes.service")).unwrap();
    holes.set_len(1 << 40).unwrap();
    assert!(error("holes.service").contains("it is too large"));
    tree.unit("long.service", &format!("[Service]\nExecStart=/bin/a\n{}", "Nice=1\n".repeat(60_000)));
    assert!(error("long.service").contains("it has 60001 settings"), "{}", error("long.service"));
    tree.unit("noise.service", &format!("[Service]\nExecStart=/bin/a\n{}", "x\n".repeat(60_000)));
    assert!(error("noise.service").contains("at most 50000"));
    tree.file("/usr/lib/systemd/system/dead.service", "\u{0}\u{1}\u{7f}ELF\n");
    std::fs::write(tree.path.join("usr/lib/systemd/system/bytes.service"), [0xff; 4096]).unwrap();
    assert!(error("bytes.service").contains("not UTF-8"));
    assert!(matches!(tree.load("dead.service").state, LoadState::BadSetting(_)));
    // it includes itself: systemd has no such thing any more, and it is said so
    tree.unit("self.service", ".include /usr/lib/systemd/system/self.service\n[Service]\n.include self.service\nExecStart=/bin/a\n[Unit]\nAfter=self.service\nWants=self.service\n");
    tree.link_at("/etc/systemd/system/self.service.wants/self.service", "/usr/lib/systemd/system/self.service");
    tree.link_at("/etc/systemd/system/self.service.d", "self.service.d");
    tree.link_at("/etc/systemd/system/self.service.requires", "../system");
    tree.file("/run/systemd/system/self.service.d/huge.conf", &format!("[Service]\n{}", line.repeat((10 << 20) / line.len())));
    tree.link_at("/run/systemd/system/self.service.d/loop.conf", "loop.conf");
    let unit = tree.load("self.service");
    assert_eq!(unit.state, LoadState::Loaded);
    let notices: Vec<String> = unit.notices.iter().map(|n| format!("{}: {}", n.line, n.text)).collect();
    for text in ["1: there is no '=' in it", "too large", "symbolic link"] {
        assert!(notices.iter().any(|notice| notice.to_lowercase().contains(text)), "{text}: {notices:?}");
    }
    assert!(crate::depend::dependencies(&unit, crate::search::Scope::System, &|_| false).iter().all(|d| d.to != unit.name));
    // a hundred thousand names are read in no time, and each is there once
    let names: String = (0..40_000).map(|n| format!("n{n:06}.service ")).collect();
    tree.unit("all.target", &format!("[Unit]\nWants={names}\nWants={names}\nAfter={names}\n"));
    let began = std::time::Instant::now();
    let unit = tree.load("all.target");
    assert_eq!(crate::depend::dependencies(&unit, crate::search::Scope::System, &|_| false).len(), 80_002, "with those that a target has");
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

/// Every unit file of packages that we have loads, with every key known.
#[test]
fn corpus() {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpus/units");
    let candidates = [beside, "/work/shared/corpus/units"];
    let all = candidates.into_iter().find(|path| std::path::Path::new(path).is_dir());
    if all.is_none() {
        eprintln!("only the corpus of the repository: ../shared is not there");
    }
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");
    let mut loaded = 0;
    let mut obsolete = Vec::new();
    for package in [Some(own), all].into_iter().flatten().flat_map(|top| std::fs::read_dir(top).unwrap()) {
        let package = package.unwrap().path();
        if !package.is_dir() {
            continue;
        }
        let tree = Tree::new("corpus");
        let mut names = Vec::new();
        for file in std::fs::read_dir(&package).unwrap() {
            let file = file.unwrap();
            let Ok(name) = UnitName::parse(&file.file_name().to_string_lossy()) else { continue };
            let bytes = std::fs::read(file.path()).unwrap();
            tree.file(&format!("/usr/lib/systemd/system/{name}"), "");
            std::fs::write(tree.path.join(format!("usr/lib/systemd/system/{name}")), bytes).unwrap();
            names.push(name);
        }
        for name in names {
            let asked = if name.is_template() { name.with_instance("0").unwrap() } else { name };
            let unit = tree.load(asked.as_str());
            if tree.root.is_null_or_empty(&format!("/usr/lib/systemd/system/{}", asked.template().unwrap_or(asked.clone()))) {
                assert_eq!(unit.state, LoadState::Masked);
                continue;
            }
            assert_eq!(unit.state, LoadState::Loaded, "{}: {asked}", package.display());
            loaded += 1;
            assert!(unit.settings.iter().all(|s| keys::obsolete(s.key).is_none()));
            obsolete.extend(unit.notices.into_iter().map(|notice| format!("{asked}:{}: {}", notice.line, notice.text)));
        }
    }
    assert!(loaded >= if all.is_some() { 600 } else { 20 }, "{loaded}");
    let unknown: Vec<_> = obsolete.iter().filter(|text| text.contains("Unknown")).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    eprintln!("{loaded} units, warnings: {obsolete:#?}");
}
