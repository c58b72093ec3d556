//! Plans of a few specs on a made-up host: what is decided, in which order, without touching anything.

use std::path::PathBuf;

use hostel_image::disk::{Content, Extent, Hashes, Part, Protection};
use hostel_nspawn::{Action, Environment};
use hostel_spec::{CapName, ConsoleMode, Designator, MachineSpec, MachineUuid, RootHash, Rule, Uses};

use super::image::{ImageFacts, Mapper};
use super::{Caller, OwnFiles, Plan, TreeFacts, plan};
use crate::cgroup::Layout;
use crate::credentials::Loaded;
use crate::host::{Host, HostTimezone, ResolvConfSource};
use crate::journal::{JournalFacts, Place};

mod bundle;

fn host() -> Host {
    Host {
        cgroups: Layout::parse("30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/\n"),
        hostname: "testhost".into(),
        os_release: vec![("id".into(), "debian".into())],
        os_release_content: Some(b"ID=debian\n".to_vec()),
        resolv_conf: Some(ResolvConfSource { path: "/etc/resolv.conf".into(), content: b"nameserver 192.0.2.1\n".to_vec(), stub: false }),
        timezone: Some(HostTimezone::Zone("Europe/Berlin".into())),
        machine_id: MachineUuid::parse("0123456789abcdef0123456789abcdef").ok(),
        systemd: None,
        networkd: false,
        user_namespaces: true,
        seccomp: true,
        tun: Some(0o600),
        fuse: None,
        tmpfs_user_attributes: true,
        init_limits: Vec::new(),
        low_limits: Vec::new(),
        for_bundle: Default::default(),
        submounts: Vec::new(),
        journal: None,
        users: Vec::new(),
        credentials: Vec::new(),
    }
}

fn tree(path: &str) -> TreeFacts {
    TreeFacts { path: PathBuf::from(path), merged_usr: true, ..TreeFacts::default() }
}

fn spec(line: &str) -> MachineSpec {
    let args: Vec<_> = line.split_whitespace().map(Into::into).collect();
    match hostel_nspawn::parse(&args, &Environment { vars: Vec::new(), cwd: "/".into() }) {
        Ok(Action::Run(spec)) => *spec,
        other => panic!("{line}: {other:?}"),
    }
}

fn planned(line: &str) -> Plan {
    plan(&spec(line), &host(), &tree("/srv/debian"), &Caller::default()).unwrap_or_else(|e| panic!("{line}: {e}"))
}

fn text(plan: &Plan) -> String {
    plan.describe().into_iter().map(|(side, step)| format!("{side:<10} {step}\n")).collect()
}

#[test]
fn snapshots() {
    for (name, line) in [
        ("command", "-D /srv/debian /bin/true"),
        ("boot_pick_veth", "-b -D /srv/debian -U -n"),
        ("read_only_binds", "-D /srv/debian --read-only --bind=/home:/data --bind-ro=+/etc:/mnt --tmpfs=/scratch:size=1M --inaccessible=/root true"),
        ("volatile_overlay", "-D /srv/debian --volatile=overlay true"),
        ("volatile_yes", "-D /srv/debian --volatile=yes true"),
        ("range_idmap_bind", "-D /srv/debian --private-users=1048576 --private-users-ownership=map --bind=/home:/home:idmap true"),
        ("overlay_and_temporary", "-D /srv/debian --overlay=/a:/b::/c --bind=:/scratch true"),
        ("pipe_as_pid2", "-D /srv/debian -P -a sh"),
    ] {
        insta::assert_snapshot!(name, text(&planned(line)));
    }
}

/// The steps a plan has beyond those of the same machine without `option`.
fn more(option: &str, line: &str, host: &Host, facts: &TreeFacts) -> String {
    let steps = |line: &str| text(&plan(&spec(line), host, facts, &Caller::default()).unwrap_or_else(|e| panic!("{line}: {e}")));
    let without = steps(line);
    steps(&format!("{option} {line}")).lines().filter(|step| !without.lines().any(|other| other == *step)).map(|step| format!("{step}\n")).collect()
}

#[test]
fn credentials() {
    let loaded = vec![Loaded { id: c"tls".into(), content: b"secret".to_vec() }];
    let with = Host { credentials: loaded, ..host() };
    let plan = |line: &str| plan(&spec(line), &with, &tree("/srv/d"), &Caller::default()).unwrap();
    let steps = text(&plan("-D /srv/d true"));
    assert!(steps.contains("ramfs ro with credentials tls\n"), "{steps}");
    let (sealed, attached) = (steps.find("/run/host read-only").unwrap(), steps.find("on /host/credentials of mount").unwrap());
    assert!(sealed < attached, "{steps}");
    assert!(plan("-D /srv/d true").env.contains(&"CREDENTIALS_DIRECTORY=/run/host/credentials".into()));
    // Whoever never becomes root could not read root's.
    assert!(text(&plan("-D /srv/d -u bob --no-new-privileges=yes true")).contains("credentials tls, for every user"));
    for line in ["-D /srv/d -u bob true", "-D /srv/d --no-new-privileges=yes true", "-D /srv/d -a -u bob --no-new-privileges=yes true"] {
        assert!(!text(&plan(line)).contains("for every user"), "{line}");
    }
}

#[test]
fn pivot_root() {
    let steps = more("--pivot-root=/ostree/deploy:/sysroot", "-D /srv/d true", &host(), &tree("/srv/d"));
    assert_eq!(steps, "payload    root = /ostree/deploy of the root, the old one on /sysroot\n");
    let steps = text(&planned("-D /srv/d --pivot-root=/new --overlay=+/a:/b:/c true"));
    assert!(steps.contains("/new/a of the tree"), "{steps}");
    let refused = "-D /srv/d --pivot-root=/new --volatile=yes true";
    assert!(plan(&spec(refused), &host(), &tree("/srv/d"), &Caller::default()).is_err(), "{refused}");
}

#[test]
fn locks() {
    assert!(text(&planned("-D /srv/d true")).contains("lock the tree"));
    let mut unlocked = spec("-D /srv/d true");
    unlocked.root.unlocked = true;
    assert!(!text(&plan(&unlocked, &host(), &tree("/srv/d"), &Caller::default()).unwrap()).contains("lock the tree"));
}

#[test]
fn a_tree_that_is_marked_read_only() {
    let marked = TreeFacts { marked: true, ..tree("/srv/d") };
    let plan_of = |line: &str| plan(&spec(line), &host(), &marked, &Caller::default());
    for (line, read_only) in [
        ("-D /srv/d true", true),
        ("-b -D /srv/d -U -n", true),
        ("-D /srv/d --read-only true", true),
        ("-x -D /srv/d true", false),
        ("-D /srv/d --volatile=overlay true", false),
        ("-D /srv/d --volatile=yes true", false),
    ] {
        let plan = plan_of(line).unwrap();
        assert_eq!(text(&plan).contains("root read-only"), read_only, "{line}: {}", text(&plan));
        let given = spec(&line.replace("-D /srv/d", "--read-only -D /srv/d"));
        let given = text(&super::plan(&given, &host(), &tree("/srv/d"), &Caller::default()).unwrap());
        assert!(!read_only || text(&plan) == given, "{line}: {}\n{given}", text(&plan));
    }
    assert!(plan_of("-D /srv/d --overlay=+/a:+/b:/mnt true").unwrap_err().to_string().contains("marked read-only"));
    assert!(plan_of("-D /srv/d -x --overlay=+/a:+/b:/mnt true").is_ok());
}

#[test]
fn journals() {
    let id = "0123456789abcdef0123456789abcdef";
    let facts = TreeFacts { machine_id: MachineUuid::parse(id).ok(), ..tree("/srv/d") };
    let found = |place: Place| JournalFacts { place, mounted: false, persistent: true, same_id: false };
    let with = |facts: JournalFacts| Host { journal: Some(facts), ..host() };
    let refuse = |line: &str, journal: JournalFacts| plan(&spec(line), &with(journal), &facts, &Caller::default()).map(|p| p.notices);
    let at = format!("/var/log/journal/{id}");
    let text_of = |line: &str, journal: JournalFacts| text(&plan(&spec(line), &with(journal), &facts, &Caller::default()).unwrap());
    let guest = text_of("-D /srv/d --link-journal=guest true", found(Place::Missing));
    assert!(guest.contains(&format!("link {at} -> /srv/d{at}\n")) && guest.contains(&format!("directory {at} (if missing)\n")), "{guest}");
    let linked = text_of("-D /srv/d --link-journal=guest true", found(Place::Link(format!("/srv/d{at}").into(), true)));
    assert!(!linked.contains("link /var/log") && linked.contains(&format!("directory {at} (if missing)")), "{linked}");
    let hosted = text_of("-D /srv/d --link-journal=host -U true", found(Place::Missing));
    assert!(hosted.contains(&format!("make {at}\n")) && hosted.contains("(Rootidmap)"), "{hosted}");
    // A link elsewhere is replaced when that is demanded, or when it leads nowhere.
    let other = |leads| found(Place::Link("/srv/other/journal".into(), leads));
    for (line, leads, changed) in [
        ("-D /srv/d true", true, false),
        ("-D /srv/d true", false, false),
        ("-D /srv/d -j true", true, false),
        ("-D /srv/d -j true", false, true),
        ("-D /srv/d --link-journal=guest true", true, true),
        ("-D /srv/d --link-journal=try-host true", true, false),
        ("-D /srv/d --link-journal=host true", true, true),
    ] {
        let steps = text_of(line, other(leads));
        assert_eq!(steps.contains("journal"), changed, "{line}, {leads}: {steps}");
        let told = refuse(line, other(leads)).unwrap();
        assert_eq!(told.iter().any(|n| n.ends_with("leads to /srv/other/journal")), leads && !changed, "{line}: {told:?}");
    }
    let own = found(Place::Link(format!("/srv/d{at}").into(), true));
    assert!(text_of("-D /srv/d --link-journal=try-host true", own).contains(&format!("make {at}\n")));
    for line in ["-D /srv/d --read-only -j true", "-D /srv/d --volatile=state -j true"] {
        let steps = text_of(line, found(Place::Missing));
        assert!(!steps.contains("journal"), "{line}: {steps}");
    }
    let thrown_away = text_of("-D /srv/d -x --link-journal=try-host true", found(Place::Directory));
    assert!(!thrown_away.contains("journal"), "{thrown_away}");
    for (facts, why) in [
        (JournalFacts { same_id: true, ..found(Place::Missing) }, "have the same id"),
        (JournalFacts { mounted: true, ..found(Place::Directory) }, "is a mount point"),
        (JournalFacts { persistent: false, ..found(Place::Missing) }, "the host has no /var/log/journal"),
        (found(Place::Other), "is neither a link nor a directory"),
    ] {
        let error = refuse("-D /srv/d --link-journal=host true", facts.clone()).unwrap_err().to_string();
        assert!(error.starts_with("link the machine's journal: ") && error.ends_with(why), "{error}");
        let notices = refuse("-D /srv/d --link-journal=try-host true", facts.clone()).unwrap();
        assert_eq!(!notices.is_empty(), facts.same_id, "{notices:?}");
    }
}

#[test]
fn network_capabilities() {
    let has = |line: &str, cap| planned(line).bounding.has(cap);
    assert!(!has("-D /srv/debian true", CapName::NET_ADMIN));
    assert!(has("-D /srv/debian --private-network true", CapName::NET_ADMIN));
    assert!(has("-D /srv/debian true", CapName::NET_BIND_SERVICE));
    assert!(!has("-D /srv/debian -U true", CapName::NET_BIND_SERVICE));
    assert!(!has("-D /srv/debian --private-network --drop-capability=CAP_NET_ADMIN true", CapName::NET_ADMIN));
}

#[test]
fn consoles() {
    let mode = |line: &str, stdin_tty, stdout_tty| {
        plan(&spec(line), &host(), &tree("/srv/d"), &Caller { stdin_tty, stdout_tty, ..Caller::default() }).map(|p| p.console)
    };
    assert_eq!(mode("-D /srv/d true", true, true).unwrap(), ConsoleMode::Interactive);
    assert_eq!(mode("-D /srv/d true", false, true).unwrap(), ConsoleMode::ReadOnly);
    assert_eq!(mode("-D /srv/d --console=autopipe true", true, true).unwrap(), ConsoleMode::Interactive);
    assert_eq!(mode("-D /srv/d --console=autopipe true", true, false).unwrap(), ConsoleMode::Pipe);
}

#[test]
fn names() {
    let name = |path: &str, line: &str| plan(&spec(line), &host(), &tree(path), &Caller::default()).map(|p| p.name.as_str().to_owned());
    assert_eq!(name("/srv/debian", "-D /x true").unwrap(), "debian");
    assert_eq!(name("/srv/we ird!", "-D /x true").unwrap(), "weird");
    assert_eq!(name("/", "-D /x true").unwrap(), "testhost");
    assert_eq!(name("/srv/debian", "-D /x -x true").unwrap(), "debian-0000000000000000");
    let refused = name("/srv/---", "-D /x true").unwrap_err();
    assert!(refused.hint.is_some(), "{refused}");
}

#[test]
fn refusals_name_the_way_out() {
    let refuse = |line: &str, facts: TreeFacts| plan(&spec(line), &host(), &facts, &Caller::default()).map(|_| ()).unwrap_err();
    let split = TreeFacts { merged_usr: false, ..tree("/srv/old") };
    assert!(refuse("-D /srv/old --volatile=yes true", split).hint.is_some());
    let torn = TreeFacts { owner: (0x10000, 0x20000), ..tree("/srv/torn") };
    assert!(refuse("-D /srv/torn --private-users=yes true", torn).to_string().contains("not in the same id range"));
    let no_id = Host { machine_id: None, ..host() };
    let error = plan(&spec("-D /srv/d -n true"), &no_id, &tree("/srv/d"), &Caller::default()).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("machine-id"), "{error}");
    let slip = plan(&spec("-D /srv/d --system-call-filter=~mout true"), &host(), &tree("/srv/d"), &Caller::default()).map(|_| ()).unwrap_err();
    assert!(slip.to_string().contains("mout"), "{slip}");
}

#[test]
fn limits_are_merged() {
    let plan = planned("-D /srv/debian --rlimit=NOFILE=10:20 true");
    let nofile: Vec<_> = plan.spec.process.rlimits.iter().filter(|l| l.name == hostel_spec::RlimitName::Nofile).collect();
    assert_eq!(nofile.len(), 1);
    assert_eq!((nofile[0].soft, nofile[0].hard), (Some(10), Some(20)));
    assert!(plan.spec.process.rlimits.iter().any(|l| l.name == hostel_spec::RlimitName::Core && l.soft == Some(0)));
}

/// A disk of a 64-bit PC: root with a hash tree or LUKS, /usr, /var, ESP.
fn disk(opened: bool, protection: Protection) -> TreeFacts {
    let part = |designator, number, content, protection, read_only| Part {
        designator,
        extent: Extent { number, start: u64::from(number) << 20, size: 1 << 20 },
        content,
        read_only,
        growfs: number == 3,
        protection,
        rule: Rule::of(Uses::OPEN),
    };
    let parts = vec![
        part(Designator::Root, 1, Content::Ext(4), protection, false),
        part(Designator::Usr, 2, Content::Erofs, Protection::None, true),
        part(Designator::Var, 3, Content::Ext(4), Protection::None, false),
        part(Designator::Esp, 4, Content::Vfat, Protection::None, false),
    ];
    let image = ImageFacts { parts, opened, esp: Some("/efi"), ..ImageFacts::default() };
    TreeFacts { given_name: Some("disk".into()), image: Some(image), ..tree("/srv/disk.raw") }
}

fn planned_disk(line: &str, opened: bool) -> Plan {
    plan(&spec(line), &host(), &disk(opened, Protection::None), &Caller::default()).unwrap_or_else(|e| panic!("{line}: {e}"))
}

#[test]
fn images() {
    for (name, line) in [
        ("image", "-i /srv/disk.raw -b -U"),
        ("image_overlay", "-i /srv/disk.raw --volatile=overlay -U true"),
        ("image_ephemeral", "-i /srv/disk.raw -x true"),
        ("image_volatile", "-i /srv/disk.raw --volatile=yes true"),
        ("image_state", "-i /srv/disk.raw --volatile=state true"),
        ("image_read_only", "-i /srv/disk.raw --read-only true"),
    ] {
        // The steps that open it, and those made of what was found.
        let steps = text(&planned_disk(line, false)).lines().take_while(|l| !l.contains("look into the image")).collect::<Vec<_>>().join("\n");
        let rest = text(&planned_disk(line, true));
        let of_image: Vec<&str> =
            rest.lines().filter(|l| ["image", "attach mount", "root", "map ids", "overlay"].iter().any(|w| l.contains(w))).collect();
        insta::assert_snapshot!(name, format!("{steps}\n-- opened --\n{}\n", of_image.join("\n")));
    }
}

#[test]
fn what_cannot_be_decrypted_or_verified_is_refused_before_anything_starts() {
    let hash = RootHash::parse(&"ab".repeat(32)).unwrap();
    let verity = Protection::Verity { hashes: Hashes::File("/v".into()), root_hash: hash, signature: None };
    let tool = |name: &str| Some(PathBuf::from(format!("/usr/sbin/{name}")));
    let whole = Mapper { present: true, cryptsetup: tool("cryptsetup"), veritysetup: tool("veritysetup") };
    let said_of = |line: &str, protection: &Protection, mapper: &Mapper, stdin_tty| {
        let mut facts = disk(false, protection.clone());
        if let Some(image) = &mut facts.image {
            image.mapper = mapper.clone();
        }
        let caller = Caller { stdin_tty, ..Caller::default() };
        plan(&spec(line), &host(), &facts, &caller).map(|_| ()).map_err(|e| e.to_string())
    };
    let said = |protection: &Protection, mapper: &Mapper, tty| said_of("-i /srv/disk.raw true", protection, mapper, tty);
    let without = Mapper::default();
    let bare = Mapper { present: true, ..Mapper::default() };
    assert_eq!(said(&verity, &whole, false), Ok(()));
    assert_eq!(said(&Protection::Luks, &whole, true), Ok(()));
    for (protection, mapper, tty, want) in [
        (&verity, &without, false, "no device-mapper"),
        (&verity, &bare, false, "veritysetup is not installed"),
        (&Protection::Luks, &without, true, "no device-mapper"),
        (&Protection::Luks, &bare, true, "cryptsetup is not installed"),
        (&Protection::Luks, &whole, false, "standard input is no terminal"),
    ] {
        let error = said(protection, mapper, tty).unwrap_err();
        assert!(error.contains(want), "{error}");
    }
    let silent = |protection: &Protection| said_of("--no-ask-password -i /srv/disk.raw true", protection, &whole, true);
    assert!(silent(&Protection::Luks).unwrap_err().contains("--no-ask-password forbids"));
    assert_eq!(silent(&verity), Ok(()));
}

#[test]
fn an_ephemeral_machine_gets_a_layer_where_blocks_cannot_be_shared() {
    let steps = |line: &str, layers| {
        let facts = TreeFacts { layers, ..tree("/srv/debian") };
        text(&plan(&spec(line), &host(), &facts, &Caller::default()).unwrap_or_else(|e| panic!("{line}: {e}")))
    };
    for (line, layers, layer) in [
        ("-xD /srv/debian true", true, true),
        ("-xD /srv/debian true", false, false),
        ("-xUD /srv/debian true", true, true),
        // What changes owners on disk, or is an overlay already, is not one.
        ("-xD /srv/debian --private-users=1048576 --private-users-ownership=chown true", true, false),
        ("-xD /srv/debian --volatile=overlay true", true, false),
    ] {
        let steps = steps(line, layers);
        assert_eq!(steps.contains("make a layer for this run"), layer, "{line}: {steps}");
        assert_eq!(steps.contains("snapshot, reflink or copy"), !layer, "{line}: {steps}");
    }
}

#[test]
fn what_a_kept_machine_made_of_our_files_is_left() {
    let files = |line: &str, own: OwnFiles| -> String {
        let plan = plan(&spec(line), &host(), &TreeFacts { own, ..tree("/srv/debian") }, &Caller::default()).unwrap();
        let text = text(&plan);
        text.lines().filter(|l| l.contains("resolv.conf") || l.contains("localtime")).map(str::trim).collect::<Vec<_>>().join("; ")
    };
    let kept = OwnFiles { kept: true, ..OwnFiles::default() };
    for line in ["-D /srv/debian true", "-D /srv/debian -n true"] {
        assert_eq!(files(line, kept), files(line, OwnFiles::default()), "{line}");
        let changed = files(line, OwnFiles { resolver: true, ..kept });
        assert!(!changed.contains("resolv.conf") && changed.contains("localtime"), "{line}: {changed}");
        assert_eq!(files(line, OwnFiles { resolver: true, localtime: true, ..kept }), "", "{line}");
    }
    // What is asked for by name is done.
    let asked = files("-D /srv/debian --resolv-conf=replace-host --timezone=delete true", OwnFiles { resolver: true, localtime: true, kept: true });
    assert!(asked.contains("resolv.conf") && asked.contains("localtime"), "{asked}");
}
