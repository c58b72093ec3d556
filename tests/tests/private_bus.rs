//! The tree's own systemctl, unmodified, with our init as PID 1: what systemd 252 answered is recorded in `data/systemctl/`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hostel_tests::{Bed, Tree};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/systemctl");

/// What is said otherwise here, and why: `(command, why)`.
const DIFFERENT: &[(&str, &str)] = &[
    ("systemctl service-log-level nosuch", NO_BUS),
    ("systemctl freeze nosuch", NO_BUS),
    ("systemctl clean nosuch", NO_BUS),
    ("systemctl log-target nonsense", "the log's target and level cannot be changed"),
    ("systemctl set-property nosuch MemoryMax=1G", "not implemented yet"),
    ("systemctl bind nosuch /a /b", "not implemented yet"),
    ("journalctl -q -u 'nosuch*' -o cat", "a pattern that fits no unit gives no entries"),
    ("update-rc.d oldie disable; systemctl is-enabled oldie", SCRIPT),
    ("update-rc.d oldie enable; systemctl is-enabled oldie", SCRIPT),
    ("runlevel", "there is no record of logins and boots (utmp), which it reads"),
];

/// What other tools call, and parse of the answer (`services.md`, 2.5): `(who, call, lines of standard output and the exit status)`. All of
/// it is in the transcript too, where every line is compared with what systemd 252 said.
#[rustfmt::skip]
const CALLS: &[(&str, &str, &[&str])] = &[
    ("Ansible's service_mgr", "ls -d /run/systemd/system /dev/.run/systemd /dev/.systemd 2>/dev/null", &["/run/systemd/system", "rc 2"]),
    ("Ansible's service_mgr", "case $(cat /proc/1/comm) in systemd|init) echo known ;; *) echo unknown ;; esac", &["known", "rc 0"]),
    ("Ansible's systemd_service", "systemctl show 'nosuch' | grep -E '^(Id|LoadState|ActiveState|LoadError)='",
        &["Id=nosuch.service", "LoadState=not-found", "ActiveState=inactive", "LoadError=org.freedesktop.systemd1.NoSuchUnit \"Unit nosuch.service not found.\"", "rc 0"]),
    ("Ansible's systemd_service", "systemctl list-unit-files 'web*'", &["UNIT FILE STATE PRESET", "web.service disabled enabled", "web.socket disabled enabled", "", "2 unit files listed.", "rc 0"]),
    ("Ansible's systemd_service", "systemctl is-enabled 'web' -l", &["disabled", "rc 1"]),
    ("Ansible's systemd_service", "systemctl --no-block start 'plain'; systemctl is-active plain", &["active", "rc 0"]),
    ("Ansible's systemd_service", "systemctl --force enable 'web'", &["rc 0"]),
    ("Ansible's systemd_service", "systemctl --no-block daemon-reload", &["rc 0"]),
    ("Ansible's systemd_service", "systemctl --user is-active web", &["rc 1"]),
    ("Ansible's systemd_service", "systemctl daemon-reexec", &["rc 0"]),
    ("Ansible's systemd_service", "systemctl enable --now 'web'", &["rc 0"]),
    ("Ansible's service_facts", "systemctl list-units --no-pager --type service --all --plain | grep -E '^(web|plain|bad)\\.service'", &["web.service loaded active running A server", "rc 0"]),
    ("Ansible's service_facts", "systemctl list-unit-files --no-pager --type service --all | grep -E '^(web|plain|bad|once|masked|inst@|broken)\\.service'",
        &["bad.service static -", "broken.service static -", "inst@.service disabled enabled", "masked.service masked enabled", "once.service disabled enabled", "plain.service static -", "web.service disabled enabled", "rc 0"]),
    ("Ansible's service_facts", "systemctl show web.service --property=ActiveState", &["ActiveState=active", "rc 0"]),
    ("testinfra", "systemctl list-unit-files 2>/dev/null | grep -q \"^web\"; echo $?", &["0", "rc 0"]),
    ("testinfra", "systemctl is-active nosuch", &["inactive", "rc 3"]),
    ("testinfra", "systemctl is-enabled masked", &["masked", "rc 1"]),
    ("testinfra", "systemd-analyze verify web.service", &["rc 1"]),
    ("Puppet", "systemctl list-unit-files --type service --full --all --no-pager | grep -E '^(web|bad|masked|inst@)' | awk '{print $1, $2}'",
        &["bad.service static", "inst@.service disabled", "masked.service masked", "web.service disabled", "rc 0"]),
    ("Puppet", "systemctl is-enabled -- web.service", &["disabled", "rc 1"]),
    ("Puppet", "systemctl is-active -- web.service", &["active", "rc 0"]),
    ("Puppet", "systemctl show --property=NeedDaemonReload -- web.service", &["NeedDaemonReload=no", "rc 0"]),
    ("Puppet", "rm -r /etc/systemd/system/web.service.d; systemctl show --property=NeedDaemonReload -- web.service; systemctl daemon-reload; systemctl show --property=NeedDaemonReload -- web.service",
        &["NeedDaemonReload=yes", "NeedDaemonReload=no", "rc 0"]),
    ("Puppet", "systemctl start -- web.service", &["rc 0"]),
    ("Puppet", "systemctl cat -- nosuch.service", &["rc 1"]),
    ("deb-systemd-invoke", "systemctl --quiet --system is-enabled -- web.service", &["rc 1"]),
    ("deb-systemd-invoke", "export DPKG_MAINTSCRIPT_PACKAGE=web; deb-systemd-helper unmask web.service; deb-systemd-helper enable web.service; deb-systemd-helper --quiet was-enabled web.service; echo $?; systemctl is-enabled web.service",
        &["0", "enabled", "rc 0"]),
    ("deb-systemd-invoke", "deb-systemd-invoke start web.service; systemctl is-active web", &["active", "rc 0"]),
    ("deb-systemd-invoke", "systemctl --no-legend --quiet list-units 'user@*'", &["rc 0"]),
    ("invoke-rc.d", "systemctl --quiet is-active sysinit.target", &["rc 0"]),
    ("invoke-rc.d", "systemctl -p LoadState show web.service", &["LoadState=loaded", "rc 0"]),
    ("invoke-rc.d", "systemctl show --value --property SourcePath web.service", &["rc 0"]),
    ("invoke-rc.d", "systemctl show --value --property SourcePath oldie", &["/etc/init.d/oldie", "rc 0"]),
    ("invoke-rc.d", "invoke-rc.d web start; systemctl is-active web", &["active", "rc 0"]),
    ("invoke-rc.d", "invoke-rc.d --query web start; echo $?", &["104", "rc 0"]),
    ("service", "systemctl -p CanReload show web.service", &["CanReload=yes", "rc 0"]),
    ("service", "systemctl -p Triggers show web.socket", &["Triggers=web.service", "rc 0"]),
    ("service", "service web start; systemctl is-active web", &["active", "rc 0"]),
    ("service", "service oldie start; systemctl is-active oldie; cat /tmp/oldie", &["active", "start", "rc 0"]),
    ("service", "systemctl start web; systemctl --signal=KILL kill web; sleep 0.5; systemctl show -p NRestarts -p Result web", &["Result=success", "NRestarts=1", "rc 0"]),
    ("update-rc.d", "systemctl --root=/tmp/r --quiet preset web.service; systemctl --root=/tmp/r is-enabled web.service", &["enabled", "rc 0"]),
    ("update-rc.d", "update-rc.d oldie defaults; systemctl is-enabled oldie", &["enabled", "rc 0"]),
    ("deb-systemd-helper", "systemctl --version | head -1 | cut -d' ' -f1,2", &["systemd 252", "rc 0"]),
    ("needrestart", "systemctl -n 0 --full status $(systemctl show -P MainPID web) 2>/dev/null | head -1", &["* web.service - A server", "rc 0"]),
    ("needrestart", "systemctl restart web.service plain.service; systemctl is-active web.service plain.service", &["active", "active", "rc 0"]),
];

const NO_BUS: &str = "systemctl asks the message bus, where hostel is not";

/// The same of our systemctl.
const OURS_DIFFERENT: &[(&str, &str)] = &[
    ("systemctl start --show-transaction plain 2>&1 | sed 's/job [0-9]*/job N/'", "the option is taken without effect: start --dry-run shows it"),
    ("systemctl list-paths --no-legend 'nosuch*'", "a verb of 254"),
    ("systemctl show 'inst@' | grep -E '^(LoadState|LoadError|ActiveState)='", TEMPLATE),
    ("systemctl show inst@.service --property=ActiveState", TEMPLATE),
    (
        "systemctl list-units --no-pager --type service --all --plain | awk '$1 ~ /^(web|plain|bad|once)\\.service$/ {print $1, $3, $4}'",
        "with --all it has units, too, that systemd would have forgotten",
    ),
    ("journalctl -q -u 'nosuch*' -o cat", "a pattern that fits no unit gives no entries"),
    ("runlevel", "the runlevel is that of the targets that are reached"),
];

const SCRIPT: &str = "a script of sysvinit is a unit without a file in /run, which this looks for; what it does is the same";

const TEMPLATE: &str = "a template is shown as its file has it";

/// Boots the tree with our init and runs commands inside by its own shell, with these names being ours; each with its output and
/// exit status.
fn answers(bed: &Bed, tree: &Tree, commands: &str, ours: &[&str]) -> String {
    std::fs::create_dir_all(tree.at("/opt/first")).expect("make /opt/first");
    for name in ours {
        std::os::unix::fs::symlink("/opt/hostel", tree.at(&format!("/opt/first/{name}"))).expect("link");
    }
    assert!(Command::new("sh").arg(format!("{DATA}/units.sh")).arg(tree.path()).status().expect("run units.sh").success());
    tree.write("/run.sh", std::fs::read(Path::new(DATA).join("run.sh")).expect("read run.sh")).executable("/run.sh");
    tree.write("/commands.txt", commands);
    tree.write(
        "/etc/systemd/system/transcript.service",
        "[Unit]\nDescription=transcript\nAfter=multi-user.target\n[Service]\nType=exec\n\
         ExecStart=/bin/sh -c \"/run.sh /commands.txt /out; systemctl poweroff -f\"\n",
    );
    std::os::unix::fs::symlink("../transcript.service", tree.at("/etc/systemd/system/multi-user.target.wants/transcript.service")).expect("link");
    tree.remove("/etc/systemd/system/default.target.wants/hostel-test-up.service");
    let program = bed.hostel(["x"]).program();
    let outcome = bed
        .nspawn(tree, ["--console=pipe"])
        .arg(format!("--bind-ro={}:/opt/hostel", program.to_string_lossy()))
        .args(["/opt/hostel", "init"])
        .limit(Duration::from_secs(180))
        .run()
        .exits(0);
    let text = std::fs::read_to_string(tree.at("/out")).unwrap_or_default();
    println!("{}\n--- answers\n{text}", outcome.describe());
    text
}

/// A transcript as `(command, lines)`; widths of columns are left out: they depend on what else is listed.
fn parts(text: &str) -> Vec<(String, Vec<String>)> {
    let mut out: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("$ ") {
            Some(command) => out.push((command.to_owned(), Vec::new())),
            None => {
                if let Some((_, lines)) = out.last_mut() {
                    lines.push(line.split_whitespace().collect::<Vec<_>>().join(" "));
                }
            }
        }
    }
    out
}

#[test]
fn systemctl_of_the_tree_says_what_it_says_with_systemd() {
    // its journalctl reads journald's files, which are not here
    compare(&["journalctl"], DIFFERENT, true);
}

/// And so says ours, in the tree that has the other one.
#[test]
fn our_systemctl_says_what_systemds_does() {
    compare(&["journalctl", "systemctl", "runlevel", "telinit"], OURS_DIFFERENT, false);
}

/// Runs the recorded commands, with these names being ours. Words of errors are ours where the program is.
fn compare(names: &[&str], different: &[(&str, &str)], errors: bool) {
    let Some(bed) = Bed::start() else { return };
    let Some(tree) = bed.tree("debian") else { return };
    let read = |name: &str| std::fs::read_to_string(Path::new(DATA).join(name)).expect("read");
    let theirs = parts(&read("expected.txt"));
    let ours = parts(&answers(&bed, &tree, &read("commands.txt"), names));
    assert!(theirs.len() > 260, "{}", theirs.len());
    assert_eq!(theirs.iter().map(|(command, _)| command).collect::<Vec<_>>(), ours.iter().map(|(command, _)| command).collect::<Vec<_>>());
    let mut wrong = String::new();
    for (who, call, expected) in CALLS {
        let mut answers = ours.iter().filter(|(command, _)| command == call);
        let Some((_, lines)) = answers.next() else { panic!("{who}: {call:?} is not in the transcript") };
        let lines: Vec<&str> = lines.iter().map(String::as_str).filter(|line| !line.starts_with('!')).collect();
        if lines != *expected || different.iter().any(|(different, _)| different == call) {
            wrong += &format!("{who}: $ {call}\n  it needs {expected:?}\n  ours: {lines:?}\n");
        }
    }
    for ((command, theirs), (_, ours)) in theirs.iter().zip(&ours) {
        let counted = |lines: &[String]| -> Vec<String> { lines.iter().filter(|line| errors || !line.starts_with('!')).cloned().collect() };
        let (theirs, ours) = (counted(theirs), counted(ours));
        let known = different.iter().any(|(different, _)| different == command);
        if (theirs != ours) != known {
            wrong += &format!("$ {command}\n  systemd: {theirs:#?}\n  ours: {ours:#?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A newer one knows more methods, and does without those that are not there.
#[test]
fn systemctl_262_works_too() {
    let Some(bed) = Bed::start() else { return };
    let Some(tree) = bed.tree("sid") else { return };
    let commands = "systemctl is-system-running\nsystemctl enable --now web\nsystemctl is-active web\nsystemctl is-enabled web\n\
        systemctl show -p ActiveState,StatusText,Result web\nsystemctl status $$ | head -n 1\nsystemctl start bad\nsystemctl is-failed bad\n\
        systemctl start nosuch\nsystemctl start masked\nsystemctl list-units --plain --no-legend web.service\nsystemctl restart web\n\
        systemctl daemon-reload\nsystemctl disable --now web\nsystemctl is-active web\nsystemctl reset-failed\nsystemctl is-system-running\n";
    let text = answers(&bed, &tree, commands, &[]);
    let of = |command: &str| parts(&text).into_iter().filter(|(own, _)| own == command).map(|(_, lines)| lines).collect::<Vec<_>>();
    let last = |command: &str| of(command).last().cloned().unwrap_or_default();
    assert_eq!(of("systemctl is-system-running"), [["running", "rc 0"], ["running", "rc 0"]]);
    assert_eq!(of("systemctl is-active web"), [["active", "rc 0"], ["inactive", "rc 3"]]);
    assert_eq!(last("systemctl is-enabled web"), ["enabled", "rc 0"]);
    let mut shown = last("systemctl show -p ActiveState,StatusText,Result web");
    shown.sort();
    assert_eq!(shown, ["ActiveState=active", "Result=success", "StatusText=serving 3 peers", "rc 0"]);
    assert!(last("systemctl status $$ | head -n 1")[0].contains("transcript.service"), "{text}");
    for (command, status) in
        [("systemctl enable --now web", "0"), ("systemctl start bad", "1"), ("systemctl is-failed bad", "0"), ("systemctl start nosuch", "5")]
    {
        assert_eq!(last(command).last().map(String::as_str), Some(format!("rc {status}").as_str()), "{command}: {text}");
    }
    assert_eq!(last("systemctl start masked"), ["! Failed to start masked.service: Unit masked.service is masked.", "rc 1"]);
    assert_eq!(last("systemctl list-units --plain --no-legend web.service"), ["web.service loaded active running A server", "rc 0"]);
}

/// Units that `systemd-run` makes, what systemd-analyze and busctl read, and what is not done says so.
#[test]
fn other_tools_of_systemd() {
    let Some(bed) = Bed::start() else { return };
    let Some(tree) = bed.tree("debian") else { return };
    let commands = "systemd-run --unit=foo -p User=nobody -p Environment=A=b%c /bin/sh -c 'echo $A \"x  y\" >/tmp/foo; exec sleep 1000'\n\
        sleep 0.5; cat /tmp/foo; stat -c %U /tmp/foo; systemctl show -p Transient -p FragmentPath -p MainPID foo | sed 's/[1-9][0-9]*/N/'\n\
        systemd-run --unit=foo /bin/true\nsystemctl stop foo\nsystemd-run --unit=foo -p User=nobody /bin/true\nsystemd-run --scope /bin/true\n\
        systemctl set-property web.service CPUWeight=5\nsystemctl daemon-reexec\nsystemctl log-level\nsystemd-analyze time | grep -c '^Startup finished'\n\
        systemd-analyze dump | grep -c 'Unit basic.target'\nstat -c '%a %U' /run/systemd/private\nsystemctl show-environment | grep -c ^PATH=\n";
    let text = answers(&bed, &tree, commands, &[]);
    let of = |begin: &str| parts(&text).into_iter().find(|(own, _)| own.starts_with(begin)).map(|(_, lines)| lines).unwrap_or_default();
    assert_eq!(of("sleep 0.5"), ["b%c x y", "nobody", "MainPID=N", "FragmentPath=/run/systemd/transient/foo.service", "Transient=yes", "rc 0"]);
    assert!(of("systemd-run --unit=foo /bin/true").join(" ").contains("already exists"), "{text}");
    assert_eq!(of("systemd-run --unit=foo -p User=nobody /bin/true").last().map(String::as_str), Some("rc 0"), "{text}");
    assert!(of("systemd-run --scope").join(" ").contains("only services are implemented"), "{text}");
    assert_eq!(of("systemctl set-property"), ["rc 0"], "{text}");
    assert_eq!(of("systemctl daemon-reexec"), ["rc 0"], "{text}");
    assert_eq!(of("systemctl log-level"), ["info", "rc 0"]);
    for one in ["systemd-analyze time", "systemd-analyze dump", "systemctl show-environment"] {
        assert_eq!(of(one), ["1", "rc 0"], "{one}: {text}");
    }
    assert_eq!(of("stat -c '%a %U' /run/systemd/private"), ["600 root", "rc 0"]);
}

/// Whatever is sent to the socket, PID 1 goes on and answers the others; strangers are let go.
#[test]
fn hostile_peers_do_not_hurt() {
    let Some(bed) = Bed::start() else { return };
    let Some(tree) = bed.tree("debian") else { return };
    tree.write("/hurt.pl", HURT);
    let commands = "perl /hurt.pl\nsystemctl is-active web\nsystemctl start web\nsystemctl is-active web\ngrep -E '^VmRSS' /proc/1/status\n\
        setpriv --reuid=nobody --regid=nogroup --clear-groups systemctl is-active web\nls /proc/1/fd | wc -l\n";
    let text = answers(&bed, &tree, commands, &[]);
    let of = |begin: &str| parts(&text).into_iter().filter(|(own, _)| own.starts_with(begin)).map(|(_, lines)| lines).collect::<Vec<_>>();
    assert_eq!(of("perl"), [["all of it was sent", "rc 0"]], "{text}");
    assert_eq!(of("systemctl is-active web"), [["inactive", "rc 3"], ["active", "rc 0"]], "{text}");
    let size: u64 = of("grep")[0][0].split(' ').nth(1).and_then(|kib| kib.parse().ok()).expect("a size");
    assert!(size < 40_000, "{size} KiB: {text}");
    assert_ne!(of("setpriv")[0].last().map(String::as_str), Some("rc 0"), "{text}");
    // the peers are gone
    let open: u32 = of("ls")[0][0].parse().expect("a number");
    assert!(open < 40, "{text}");
}

/// Garbage, half a message, a length that is a lie, a peer that never reads, and more peers than there may be.
const HURT: &str = r#"
use strict; use Socket; $SIG{PIPE} = 'IGNORE';
sub peer { socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die; connect($s, pack_sockaddr_un('/run/systemd/private')) or return undef; return $s }
my $auth = "\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";
srand(7);
for my $n (1 .. 300) { my $s = peer() or next; syswrite($s, join '', map { chr int rand 256 } 1 .. 1 + int rand 400); close $s }
for my $n (1 .. 300) { my $s = peer() or next; syswrite($s, $auth . 'l' . join '', map { chr int rand 256 } 1 .. 200); close $s }
# a length of 4 GiB, of 3 MiB; a header cut off
for my $l (0xffffffff, 3 << 20) { my $s = peer(); syswrite($s, $auth . pack('a C C C V V V', 'l', 1, 0, 1, $l, 1, 16)); select(undef, undef, undef, 0.02); close $s }
{ my $s = peer(); syswrite($s, $auth . "l\1\0\1"); close $s }
# AUTH without end
{ my $s = peer(); syswrite($s, "\0" . 'A' x 100000); close $s }
# asks for everything, reads nothing
my $path = '/org/freedesktop/systemd1';
sub field { my ($c, $t, $v) = @_; return pack('C C a C', $c, 1, $t, 0) . pack('V', length $v) . $v . "\0" }
sub pad { my $b = shift; $b .= "\0" while length($b) % 8; return $b }
my $f = pad(field(1, 'o', $path)) . pad(field(2, 's', 'org.freedesktop.systemd1.Manager')) . field(3, 's', 'ListUnits');
my $call = pad(pack('a C C C V V V', 'l', 1, 0, 1, 0, 1, length $f) . $f);
my $s = peer(); syswrite($s, $auth); $s->blocking(0) if $s->can('blocking');
for my $n (1 .. 3000) { my $r = ''; vec($r, fileno($s), 1) = 1; select(undef, $r, undef, 0.05) or last; syswrite($s, $call) // last }
# more peers than may be, fewer than connect(2) makes wait
my @many; for (1 .. 60) { my $p = peer() or last; push @many, $p }
print "all of it was sent\n";
"#;
