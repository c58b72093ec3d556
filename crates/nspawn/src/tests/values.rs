//! Every option with good values (what they become in the spec, as JSON) and bad ones (what is said).

use super::*;

/// The part of the spec at a JSON pointer.
#[track_caller]
fn at(words: &[&str], pointer: &str) -> String {
    let json = serde_json::to_value(spec(words)).unwrap();
    json.pointer(pointer).unwrap_or_else(|| panic!("{words:?}: nothing at {pointer} in {json}")).to_string()
}

#[track_caller]
fn good(table: &[(&str, &str, &str)]) {
    for (option, pointer, expected) in table {
        assert_eq!(at(&[option], pointer), *expected, "{option}");
        original::compare(option, true);
    }
}

#[track_caller]
fn bad(table: &[(&str, &str)]) {
    for (option, why) in table {
        let text = error(&[option]).to_string();
        assert!(text.ends_with(&format!(": {why}")), "{option}: {text}");
        assert!(text.starts_with("parse --") || text.starts_with("set property"), "{option}: {text}");
        original::compare(option, false);
    }
}

#[test]
fn images() {
    let hash = "0123456789abcdef".repeat(4);
    let with_image = |option: &str, pointer: &str| at(&["-i/t.raw", option], pointer);
    assert_eq!(with_image(&format!("--root-hash={hash}"), "/root/image/root_hash"), format!("{hash:?}"));
    assert_eq!(with_image("--root-hash-sig=s.p7s", "/root/image/root_hash_sig"), r#"{"path":"/work/s.p7s"}"#);
    assert_eq!(with_image("--root-hash-sig=base64:Zm8=", "/root/image/root_hash_sig"), r#"{"bytes":[102,111]}"#);
    assert_eq!(with_image("--verity-data=/v", "/root/image/verity_data"), r#""/v""#);
    assert_eq!(with_image("--image-policy=root=verity", "/root/image/policy"), r#""root=verity:=unused+absent""#);
    assert_eq!(with_image("--image-policy=", "/root/image/policy"), "null");
    assert_eq!(with_image("-x", "/root/ephemeral"), r#""copy""#);
    for option in ["--root-hash=", "--root-hash=12", "--root-hash=xyz", "--root-hash-sig=base64:!", "--verity-data=", "--image-policy=rot=open"] {
        let text = error(&["-i/t.raw", option]).to_string();
        assert!(text.starts_with("parse --"), "{option}: {text}");
    }
    let long = format!("--root-hash={hash}");
    for (words, want) in [
        (&["-i/t.raw", "-D/t"][..], "combine --directory= and --image=: a machine has one tree"),
        (&["-i/t.raw", "--template=/t"], "combine --template= and --image=: a template is for directories"),
        (&["-D/t", &long], "combine --root-hash= and --directory=: only a disk image can be verified by it"),
        (&["--verity-data=/v"], "use --verity-data=: there is no image"),
    ] {
        assert_eq!(error(words).to_string(), want, "{words:?}");
    }
    spec(&["-Mdebian", &long]);
}

#[test]
fn tree_and_identity() {
    good(&[
        ("-D/t", "/root/tree", r#"{"directory":"/t"}"#),
        ("-Dt", "/root/tree", r#"{"directory":"/work/t"}"#),
        ("-D./t//u/.", "/root/tree", r#"{"directory":"/work/t/u"}"#),
        ("-D../t", "/root/tree", r#"{"directory":"/work/../t"}"#),
        ("--directory=", "/root/tree", r#"{"directory":"/work"}"#),
        ("-i/t.raw", "/root/tree", r#"{"image":"/t.raw"}"#),
        ("--image=t.raw", "/root/tree", r#"{"image":"/work/t.raw"}"#),
        ("--image=", "/root/tree", r#"{"directory":"/work"}"#),
        ("-Mdebian-12", "/root/tree", r#"{"named":"debian-12"}"#),
        ("-Mdebian-12", "/identity/name", r#""debian-12""#),
        ("--machine=", "/identity/name", "null"),
        ("--machine=", "/root/tree", r#"{"directory":"/work"}"#),
        ("--hostname=a.b.", "/identity/hostname", r#""a.b""#),
        ("--hostname=", "/identity/hostname", "null"),
        ("--uuid=0123456789abcdef0123456789ABCDEF", "/identity/uuid", r#""0123456789abcdef0123456789abcdef""#),
        ("--uuid=01234567-89ab-cdef-0123-456789abcdef", "/identity/uuid", r#""0123456789abcdef0123456789abcdef""#),
        ("--read-only", "/root/read_only", "true"),
        ("-x", "/root/ephemeral", r#""copy""#),
        ("--volatile", "/root/volatile", r#""yes""#),
        ("--volatile=1", "/root/volatile", r#""yes""#),
        ("--volatile=off", "/root/volatile", r#""no""#),
        ("--volatile=state", "/root/volatile", r#""state""#),
        ("--volatile=overlay", "/root/volatile", r#""overlay""#),
        ("-q", "/lifecycle/quiet", "true"),
    ]);
    let long = "x".repeat(65);
    let path = format!("-D/{}", "x".repeat(4095));
    for name in ["..", ".", "a/b", "a b", "-a", "a..b", "a\nb", "ü", &long] {
        for option in ["--machine=", "--hostname="] {
            let text = error(&[&format!("{option}{name}")]).to_string();
            assert!(text.starts_with(&format!("parse {option}")) && !text.contains('\n'), "{text}");
        }
    }
    bad(&[
        ("--uuid=", "it takes 32 hexadecimal digits, with or without dashes"),
        ("--uuid=0", "it takes 32 hexadecimal digits, with or without dashes"),
        ("--uuid=00000000000000000000000000000000", "it must not be zero"),
        ("--uuid=0123456789abcdef0123456789abcdeg", "it has a character that is no hexadecimal digit"),
        ("--volatile=", "it is none of no, yes, state, overlay"),
        ("--volatile=maybe", "it is none of no, yes, state, overlay"),
        ("--machine=..", "it must start with a letter or a digit"),
        (&path, "it is longer than 4095 bytes"),
    ]);
    assert_eq!(printed(&["--volatile=help"]), "no\nyes\nstate\noverlay\n");
}

#[test]
fn process() {
    good(&[
        ("-EA=1", "/process/env", r#"["A=1"]"#),
        ("--setenv=A=", "/process/env", r#"["A="]"#),
        ("--setenv=A=b=c", "/process/env", r#"["A=b=c"]"#),
        ("-ELANG", "/process/env", r#"["LANG=de_DE.UTF-8"]"#),
        ("-ENOSUCH", "/process/env", r#"["NOSUCH="]"#),
        ("-uroot", "/process/user", r#"{"name":"root"}"#),
        ("-u0", "/process/user", r#"{"id":0}"#),
        ("--uid=4294967294", "/process/user", r#"{"id":4294967294}"#),
        ("--user=bob", "/process/user", r#"{"name":"bob"}"#),
        ("--chdir=/srv/x/", "/process/cwd", r#""/srv/x""#),
        ("--kill-signal=SIGRTMIN+3", "/lifecycle/kill_signal", r#""SIGRTMIN+3""#),
        ("--kill-signal=TERM", "/lifecycle/kill_signal", r#""SIGTERM""#),
        ("--kill-signal=15", "/lifecycle/kill_signal", r#""SIGTERM""#),
        ("--notify-ready=yes", "/lifecycle/notify_ready", "true"),
        ("--notify-ready=0", "/lifecycle/notify_ready", "false"),
        ("--suppress-sync=no", "/notices", "[]"),
        ("--suppress-sync=yes", "/security/suppress_sync", "true"),
        ("--restrict-address-families=AF_INET AF_UNIX", "/security/address_families", r#"{"allow":true,"families":[2,1]}"#),
        ("--restrict-address-families=~AF_INET6", "/security/address_families", r#"{"allow":false,"families":[10]}"#),
        ("--restrict-address-families=none", "/security/address_families", r#"{"allow":true,"families":[]}"#),
        ("--pivot-root=/a", "/root/pivot", r#"{"new":"/a","old":null}"#),
        ("--pivot-root=/a/b:/c", "/root/pivot", r#"{"new":"/a/b","old":"/c"}"#),
        ("-Zs:r:t", "/process/selinux_label", r#""s:r:t""#),
        ("-Ls:r:t", "/security/selinux_files", r#""s:r:t""#),
        ("--oom-score-adjust=-1000", "/process/oom_score_adjust", "-1000"),
        ("--oom-score-adjust=+1000", "/process/oom_score_adjust", "1000"),
        ("--oom-score-adjust=0x10", "/process/oom_score_adjust", "16"),
        ("--cpu-affinity=0 2-3,2", "/process/cpu_affinity", "[0,2,3]"),
        ("--cpu-affinity=", "/process/cpu_affinity", "null"),
        ("--keep-unit", "/lifecycle/reboot_is_133", "true"),
    ]);
    let native = if cfg!(target_arch = "aarch64") { ("arm64", "arm") } else { ("x86-64", "x86") };
    assert!(!spec(&[&format!("--personality={}", native.0)]).process.linux32);
    assert!(spec(&[&format!("--personality={}", native.1)]).process.linux32);
    let name = "a variable's name is letters, digits and '_', and does not begin with a digit";
    bad(&[
        ("--setenv=", name),
        ("--setenv==x", name),
        ("--setenv=1a=2", name),
        ("--setenv=a b=c", name),
        ("--setenv=ä=c", name),
        ("--uid=", "it is empty"),
        ("--uid=-1", "it is no user name"),
        ("--uid=a:b", "it is no user name"),
        ("--uid=../x", "it is no user name"),
        ("--uid=a\nb", "it is no user name"),
        ("--uid=4294967295", "it is no uid"),
        ("--uid=65535", "it is no uid"),
        ("--uid=007", "it is no uid"),
        ("--uid=99999999999999999999", "it is no uid"),
        ("--user=", "it is empty"),
        ("--chdir=", "the path inside the machine is empty"),
        ("--chdir=rel", "the path inside the machine is not absolute"),
        ("--chdir=/a/../b", "the path inside the machine contains '..'"),
        ("--chdir=/proc/self", "it is below /proc, /sys or /dev"),
        ("--chdir=/sys", "it is below /proc, /sys or /dev"),
        ("--kill-signal=", "there is no signal of this name or number"),
        ("--kill-signal=FOO", "there is no signal of this name or number"),
        ("--kill-signal=term", "there is no signal of this name or number"),
        ("--kill-signal=0", "there is no signal of this name or number"),
        ("--kill-signal=65", "there is no signal of this name or number"),
        ("--kill-signal=SIGRTMIN+40", "there is no signal of this name or number"),
        ("--notify-ready=x", "it is neither yes nor no"),
        ("--notify-ready=", "it is neither yes nor no"),
        ("--suppress-sync=x", "it is neither yes nor no"),
        ("--restrict-address-families=AF_INETT", "there is no address family AF_INETT"),
        ("--pivot-root=/a/./b", "a path in it is not normalized"),
        ("--pivot-root=a", "the path inside the machine is not absolute"),
        ("--pivot-root=/a:/a", "the old root would be where the new one was"),
        ("--pivot-root=/a:/b:/c", "it has more than two paths"),
        ("--pivot-root=/", "it is the root already"),
        ("--background=red", "it is no colour as in 44 or 48;2;0;0;90"),
        ("--oom-score-adjust=", "there are no digits"),
        ("--oom-score-adjust=1001", "it is not between -1000 and 1000"),
        ("--oom-score-adjust=-1001", "it is not between -1000 and 1000"),
        ("--oom-score-adjust=99999999999999999999", "it is too large"),
        ("--cpu-affinity=x", "it takes CPU numbers and ranges such as 0-3,5"),
        ("--cpu-affinity=3-1", "a range ends before it begins"),
        ("--cpu-affinity=99999", "a CPU number is larger than 8191"),
    ]);
    assert!(error(&["--personality=s390x"]).to_string().contains("this host runs"));
    assert!(error(&["--personality="]).to_string().contains("this host runs"));
    assert_eq!(printed(&["--kill-signal=help"]).lines().take(3).collect::<Vec<_>>(), ["HUP", "INT", "QUIT"]);
    assert_eq!(printed(&["--kill-signal=help"]).lines().count(), 62);
}

#[test]
fn rlimits() {
    let limit = |text: &str| at(&[&format!("--rlimit={text}")], "/process/rlimits/0");
    for (text, name, soft, hard) in [
        ("NOFILE=1024", "NOFILE", "1024", "1024"),
        ("NOFILE=1024:4096", "NOFILE", "1024", "4096"),
        ("RLIMIT_NOFILE=infinity", "NOFILE", "null", "null"),
        ("nofile=0:infinity", "NOFILE", "0", "null"),
        ("CORE=1.5G", "CORE", "1610612736", "1610612736"),
        ("CPU=1min", "CPU", "60", "60"),
        ("CPU=1500ms", "CPU", "2", "2"),
        ("RTTIME=1ms", "RTTIME", "1000", "1000"),
        ("RTTIME=7", "RTTIME", "7", "7"),
        ("NICE=+3", "NICE", "17", "17"),
        ("NICE=-20", "NICE", "40", "40"),
        ("NICE=40", "NICE", "40", "40"),
        ("NPROC=0x10", "NPROC", "16", "16"),
    ] {
        original::compare(&format!("--rlimit={text}"), true);
        assert_eq!(limit(text), format!(r#"{{"hard":{hard},"name":"{name}","soft":{soft}}}"#), "{text}");
    }
    assert_eq!(spec(&["--rlimit=NOFILE=1", "--rlimit=CORE=1", "--rlimit=NOFILE=2"]).process.rlimits.len(), 2);
    bad(&[
        ("--rlimit=", "it has no '=' between name and limit"),
        ("--rlimit=NOFILE", "it has no '=' between name and limit"),
        ("--rlimit=FOO=1", "there is no limit of this name"),
        ("--rlimit==1", "there is no limit of this name"),
        ("--rlimit=NOFILE=", "there are no digits"),
        ("--rlimit=NOFILE=x", "it is not a whole number"),
        ("--rlimit=NOFILE=5:4", "the soft limit is above the hard limit"),
        ("--rlimit=NOFILE=infinity:4", "the soft limit is above the hard limit"),
        ("--rlimit=NOFILE=:5", "there are no digits"),
        ("--rlimit=NOFILE=1:2:3", "it is not a whole number"),
        ("--rlimit=NOFILE=1K", "it is not a whole number"),
        ("--rlimit=NOFILE=-1", "it must not be negative"),
        ("--rlimit=NOFILE=18446744073709551616", "it is too large"),
        ("--rlimit=NICE=-30", "a nice level is between -20 and 19"),
        ("--rlimit=NICE=41", "it is above 40"),
        ("--rlimit=CORE=16E", "it is too large"),
        ("--rlimit=CPU=1x", "the unit is unknown"),
    ]);
    assert_eq!(printed(&["--rlimit=help"]).lines().count(), 16);
}

#[test]
fn networks() {
    good(&[
        ("--private-network", "/network", r#"{"mode":"private"}"#),
        ("-n", "/network", r#"{"cable":"alone","mode":"private"}"#),
        ("--network-bridge=br0", "/network", r#"{"cable":{"bridge":"br0"},"mode":"private"}"#),
        ("--network-zone=lan", "/network", r#"{"cable":{"zone":"lan"},"mode":"private"}"#),
        ("--network-veth-extra=a", "/network/veth", r#"[{"host":"a","inside":"a"}]"#),
        ("--network-veth-extra=a:", "/network/veth", r#"[{"host":"a","inside":"a"}]"#),
        ("--network-veth-extra=a:b", "/network/veth", r#"[{"host":"a","inside":"b"}]"#),
        ("--network-macvlan=eth0", "/network/macvlan", r#"[{"host":"eth0","inside":"mv-eth0"}]"#),
        ("--network-macvlan=eth0:x y", "/network/macvlan", r#"[{"host":"eth0","inside":"x"},{"host":"y","inside":"mv-y"}]"#),
        ("--network-ipvlan=eth0", "/network/ipvlan", r#"[{"host":"eth0","inside":"iv-eth0"}]"#),
        ("--network-interface=eth0:lan0", "/network/interfaces", r#"[{"host":"eth0","inside":"lan0"}]"#),
        ("--network-namespace-path=/run/netns/a", "/network", r#"{"mode":"joined","namespace":"/run/netns/a"}"#),
        ("--network-namespace-path=x", "/network/namespace", r#""/work/x""#),
        ("--network-config=none", "/network/config", r#""none""#),
        ("--network-pool=10.0.0.0/12", "/network/pool", r#"{"network":"10.0.0.0","prefix":12}"#),
    ]);
    let name = "it is no interface name (1 to 15 characters, no slash, colon or space)";
    bad(&[
        ("--network-bridge=", name),
        ("--network-bridge=a/b", name),
        ("--network-zone=thirteen-long", "it is no zone name (1 to 12 characters, no slash, colon or space)"),
        ("--network-zone=", "it is no zone name (1 to 12 characters, no slash, colon or space)"),
        ("--network-veth-extra=a:b:c", name),
        ("--network-interface=", "it names no interface"),
        ("--network-interface=eth0:sixteen-letters-", name),
        ("--port=0", "a port is a number from 1 to 65535"),
        ("--network-config=x", "it is none of auto, none, dhcp, static"),
        ("--network-pool=8.8.8.0/22", "these are no private addresses (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10)"),
    ]);
}

#[test]
fn users() {
    good(&[
        ("--private-users", "/namespaces/user", r#""from-tree""#),
        ("--private-users=yes", "/namespaces/user", r#""from-tree""#),
        ("--private-users=YES", "/namespaces/user", r#""from-tree""#),
        ("--private-users=no", "/namespaces/user", r#""host""#),
        ("--private-users=off", "/namespaces/user", r#""host""#),
        ("--private-users=pick", "/namespaces/user", r#""pick""#),
        ("--private-users=identity", "/namespaces/user", r#""identity""#),
        // digits are ids, never booleans
        ("--private-users=0", "/namespaces/user", r#"{"range":{"base":0,"count":65536}}"#),
        ("--private-users=1", "/namespaces/user", r#"{"range":{"base":1,"count":65536}}"#),
        ("--private-users=1000000:10", "/namespaces/user", r#"{"range":{"base":1000000,"count":10}}"#),
        ("--private-users=5:0x10", "/namespaces/user", r#"{"range":{"base":5,"count":16}}"#),
        ("--private-users=4294900000", "/namespaces/user", r#"{"range":{"base":4294900000,"count":65536}}"#),
        ("-U", "/namespaces/user", r#""pick""#),
        ("-U", "/namespaces/ownership", r#""auto""#),
        ("--private-users-chown", "/namespaces/ownership", r#""chown""#),
        ("--private-users-ownership=map", "/namespaces/ownership", r#""map""#),
        ("--private-users-ownership=off", "/namespaces/ownership", r#""off""#),
    ]);
    let id = "the first id is no plain number below 4294967295";
    bad(&[
        ("--private-users=", id),
        ("--private-users=bogus", id),
        ("--private-users= 5", id),
        ("--private-users=010", id),
        ("--private-users=0x10", id),
        ("--private-users=-1", id),
        ("--private-users=65535", id),
        ("--private-users=4294967295", id),
        ("--private-users=99999999999999999999", id),
        ("--private-users=1:2:3", "the number of ids is no number below 4294967296"),
        ("--private-users=5:", "the number of ids is no number below 4294967296"),
        ("--private-users=5:-1", "the number of ids is no number below 4294967296"),
        ("--private-users=5:4294967296", "the number of ids is no number below 4294967296"),
        ("--private-users=0:0", "the range is empty or goes beyond 4294967295"),
        ("--private-users=4294901760", "the range is empty or goes beyond 4294967295"),
        ("--private-users-ownership=", "it is none of off, chown, map, auto"),
        ("--private-users-ownership=x", "it is none of off, chown, map, auto"),
    ]);
    assert_eq!(printed(&["--private-users-ownership=help"]), "off\nchown\nmap\nauto\n");
}

#[test]
fn privileges() {
    use hostel_spec::{CapName, CapSet};
    let with = |words: &[&str]| spec(words).security;
    assert_eq!(with(&[]).bounding, CapSet::NSPAWN);
    assert!(with(&[]).adjust_net_caps);
    let added = CapSet::of(&[CapName::SYS_TIME, CapName::IPC_LOCK]);
    for words in [&["--capability=CAP_SYS_TIME,cap_ipc_lock"][..], &["--capability=sys_time,,", "--capability=14"]] {
        assert_eq!(with(words).bounding, CapSet::NSPAWN.or(added), "{words:?}");
    }
    assert_eq!(with(&["--capability=all"]).bounding, CapSet::ALL);
    assert_eq!(with(&["--capability="]).bounding, CapSet::NSPAWN);
    let s = with(&["--capability=sys_time", "--drop-capability=sys_time,mknod"]);
    assert_eq!(s.dropped, CapSet::of(&[CapName::SYS_TIME, CapName::MKNOD]));
    assert_eq!(with(&["--drop-capability=all"]).dropped, CapSet::ALL);
    assert_eq!(spec(&["--ambient-capability=cap_chown"]).process.ambient, CapSet::of(&[CapName::CHOWN]));
    bad(&[
        ("--capability=bogus", "there is no capability bogus"),
        ("--capability=cap_chown cap_kill", "there is no capability \"cap_chown cap_kill\""),
        ("--capability=-1", "there is no capability -1"),
        ("--capability=64", "there is no capability 64"),
        ("--capability=\\", "it ends in a backslash"),
        ("--drop-capability=../x", "there is no capability ../x"),
        ("--ambient-capability=all", "ambient capabilities are named one by one"),
        ("--no-new-privileges=", "it is neither yes nor no"),
        ("--no-new-privileges=maybe", "it is neither yes nor no"),
        ("--system-call-filter=a b/c", "b/c is no system call or @group"),
        ("--system-call-filter=@", "@ is no system call or @group"),
        ("--system-call-filter=~~mount", "~mount is no system call or @group"),
        ("--system-call-filter=\"foo", "\"\\\"foo\" is no system call or @group"),
    ]);
    for option in ["--capability", "--drop-capability", "--ambient-capability"] {
        assert_eq!(printed(&[&format!("{option}=help")]).lines().count(), 41);
    }
    good(&[
        ("--no-new-privileges=true", "/process/no_new_privileges", "true"),
        ("--system-call-filter=@mount  bpf", "/security/syscalls", r#"{"nspawn":[{"allow":true,"names":["@mount","bpf"]}]}"#),
        ("--system-call-filter=~@mount", "/security/syscalls", r#"{"nspawn":[{"allow":false,"names":["@mount"]}]}"#),
        ("--system-call-filter=", "/security/syscalls", r#"{"nspawn":[]}"#),
        ("--system-call-filter=~", "/security/syscalls", r#"{"nspawn":[]}"#),
    ]);
}

#[test]
fn binds() {
    let bind = |source: &str, target: &str, ro: bool, recursive: bool, mapping: &str| {
        format!(
            r#"{{"kind":"bind","options":{{"mapping":"{mapping}","recursive":{recursive}}},"read_only":{ro},"source":{source},"target":"{target}"}}"#
        )
    };
    let host = |p: &str| format!(r#"{{"host":"{p}"}}"#);
    for (option, expected) in [
        ("--bind=/a", bind(&host("/a"), "/a", false, true, "none")),
        ("--bind-ro=/a", bind(&host("/a"), "/a", true, true, "none")),
        ("--bind=/a:/b", bind(&host("/a"), "/b", false, true, "none")),
        ("--bind=/a:/b:", bind(&host("/a"), "/b", false, true, "none")),
        ("--bind=/a:/b:norbind,idmap", bind(&host("/a"), "/b", false, false, "idmap")),
        ("--bind=/a:/b:rootidmap", bind(&host("/a"), "/b", false, true, "rootidmap")),
        ("--bind=/a:/b:owneridmap,norbind,rbind", bind(&host("/a"), "/b", false, true, "owneridmap")),
        ("--bind=/a:/b:idmap,noidmap", bind(&host("/a"), "/b", false, true, "none")),
        ("--bind=/a\\:b", bind(&host("/a:b"), "/a:b", false, true, "none")),
        ("--bind=/a\\:b:/c\\\\d", bind(&host("/a:b"), "/c\\\\d", false, true, "none")),
        ("--bind=+/a:/b", bind(r#"{"tree":"/a"}"#, "/b", false, true, "none")),
        ("--bind=+/a", bind(r#"{"tree":"/a"}"#, "/a", false, true, "none")),
        ("--bind=:/x", bind(r#""temporary""#, "/x", false, true, "none")),
        ("--bind-ro=:/x:norbind", bind(r#""temporary""#, "/x", true, false, "none")),
        ("--bind=/a/../b:/c", bind(&host("/a/../b"), "/c", false, true, "none")),
        ("--bind=/a b:/c\"d", bind(&host("/a b"), "/c\\\"d", false, true, "none")),
        ("--bind=rel:/b", bind(&host("/work/rel"), "/b", false, true, "none")),
        ("--bind=./a/.:/b", bind(&host("/work/a"), "/b", false, true, "none")),
        ("--bind=/a:/proc/x", bind(&host("/a"), "/proc/x", false, true, "none")),
    ] {
        assert_eq!(at(&[option], "/mounts/0"), expected, "{option}");
        original::compare(option, true);
    }
    let long = format!("--bind=/a:/{}", "b".repeat(4100));
    bad(&[
        ("--bind=", "it is empty"),
        ("--bind=:", "the path inside the machine is empty"),
        ("--bind=/a:", "the path inside the machine is empty"),
        ("--bind=/a::", "the path inside the machine is empty"),
        ("--bind=rel", "the path inside the machine is not absolute"),
        ("--bind=+rel:/b", "the path inside the machine is not absolute"),
        ("--bind=/a:rel", "the path inside the machine is not absolute"),
        ("--bind=/a:/b/../c", "the path inside the machine contains '..'"),
        ("--bind=/..", "the path inside the machine contains '..'"),
        ("--bind=+/../x:/b", "the path inside the machine contains '..'"),
        ("--bind=/a:/b:bogus", "there is no bind option bogus"),
        ("--bind=/a:/b:idmap:x", "there is no bind option idmap:x"),
        ("--bind=/a\\", "it ends in a backslash"),
        ("--bind-ro=rel", "the path inside the machine is not absolute"),
        (&long, "it is longer than 4095 bytes"),
    ]);
}

#[test]
fn other_mounts() {
    good(&[
        ("--inaccessible=/a/", "/mounts/0", r#"{"kind":"inaccessible","target":"/a"}"#),
        ("--tmpfs=/a", "/mounts/0", r#"{"kind":"tmpfs","options":"mode=0755","target":"/a"}"#),
        ("--tmpfs=/a:", "/mounts/0", r#"{"kind":"tmpfs","options":"mode=0755","target":"/a"}"#),
        ("--tmpfs=/a:size=1M,mode=1777", "/mounts/0", r#"{"kind":"tmpfs","options":"size=1M,mode=1777","target":"/a"}"#),
        ("--tmpfs=/a\\:b:x:y", "/mounts/0", r#"{"kind":"tmpfs","options":"x:y","target":"/a:b"}"#),
        ("--overlay=/a:/b", "/mounts/0", r#"{"kind":"overlay","lower":[{"host":"/a"}],"target":"/b","upper":{"host":"/b"}}"#),
        ("--overlay=/a:+/b", "/mounts/0", r#"{"kind":"overlay","lower":[{"host":"/a"}],"target":"/b","upper":{"tree":"/b"}}"#),
        ("--overlay=/a:/b:/c", "/mounts/0", r#"{"kind":"overlay","lower":[{"host":"/a"}],"target":"/c","upper":{"host":"/b"}}"#),
        ("--overlay=/a:+/b:/c:/d", "/mounts/0", r#"{"kind":"overlay","lower":[{"host":"/a"},{"tree":"/b"}],"target":"/d","upper":{"host":"/c"}}"#),
        ("--overlay=/a::/c", "/mounts/0", r#"{"kind":"overlay","lower":[{"host":"/a"}],"target":"/c","upper":"temporary"}"#),
        ("--overlay=a:b:/c", "/mounts/0", r#"{"kind":"overlay","lower":[{"host":"/work/a"}],"target":"/c","upper":{"host":"/work/b"}}"#),
        ("--overlay=/a:b", "/mounts/0", r#"{"kind":"overlay","lower":[{"host":"/a"}],"target":"/work/b","upper":{"host":"/work/b"}}"#),
        ("--overlay=/a\\:x:/b:/c", "/mounts/0", r#"{"kind":"overlay","lower":[{"host":"/a:x"}],"target":"/c","upper":{"host":"/b"}}"#),
        ("--overlay-ro=/a:/b:/c", "/mounts/0", r#"{"kind":"overlay","lower":[{"host":"/a"},{"host":"/b"}],"target":"/c","upper":null}"#),
        ("--overlay-ro=/a:/b", "/mounts/0", r#"{"kind":"overlay","lower":[{"host":"/a"},{"host":"/b"}],"target":"/b","upper":null}"#),
        ("--overlay-ro=/a::/c", "/mounts/0", r#"{"kind":"overlay","lower":[{"host":"/a"},"temporary"],"target":"/c","upper":null}"#),
    ]);
    let many = format!("--overlay=/x{}", ":/y".repeat(501));
    bad(&[
        ("--inaccessible=", "the path inside the machine is empty"),
        ("--inaccessible=rel", "the path inside the machine is not absolute"),
        ("--inaccessible=/a/..", "the path inside the machine contains '..'"),
        ("--inaccessible=/", "a machine needs its root"),
        ("--tmpfs=", "the path inside the machine is empty"),
        ("--tmpfs=rel", "the path inside the machine is not absolute"),
        ("--tmpfs=/a/../b", "the path inside the machine contains '..'"),
        ("--overlay=", "it takes at least two directories with ':' between"),
        ("--overlay=/a", "it takes at least two directories with ':' between"),
        ("--overlay=/a:", "the upper directory is empty, so it cannot be the place too"),
        ("--overlay=/a:/b:", "the path inside the machine is empty"),
        ("--overlay=/a:/b:c", "the path inside the machine is not absolute"),
        ("--overlay=::/c", "a lower directory is empty"),
        ("--overlay=/a:/b:/c/..", "the path inside the machine contains '..'"),
        ("--overlay-ro=:/b", "a lower directory is empty"),
        (&many, "it has more than 500 layers"),
    ]);
    // order is kept across kinds: a tmpfs may hide or hold what comes after it
    let kinds: Vec<_> =
        spec(&["--tmpfs=/a", "--bind=/x:/a/b", "--inaccessible=/c", "--tmpfs=/a/b/c"]).mounts.iter().map(|m| m.target().clone()).collect();
    assert_eq!(kinds, ["/a", "/a/b", "/c", "/a/b/c"].map(PathBuf::from));
}

#[test]
fn integration_and_console() {
    good(&[
        ("--resolv-conf=off", "/integration/resolv_conf", r#""off""#),
        ("--resolv-conf=bind-stub", "/integration/resolv_conf", r#""bind-stub""#),
        ("--resolv-conf=auto", "/integration/resolv_conf", r#""auto""#),
        ("--resolv-conf=no", "/integration/resolv_conf", r#""off""#),
        ("--resolv-conf=yes", "/integration/resolv_conf", r#""auto""#),
        ("--timezone=symlink", "/integration/timezone", r#""symlink""#),
        ("--timezone=0", "/integration/timezone", r#""off""#),
        ("--timezone=on", "/integration/timezone", r#""auto""#),
        ("--console=interactive", "/console", r#""interactive""#),
        ("--console=read-only", "/console", r#""read-only""#),
        ("--console=pipe", "/lifecycle/quiet", "true"),
        ("-P", "/console", r#""pipe""#),
        ("-P", "/lifecycle/quiet", "true"),
        ("--console=autopipe", "/lifecycle/quiet", "false"),
        ("--link-journal=no", "/notices", "[]"),
        ("--link-journal=host", "/integration/journal", r#""host""#),
        ("-j", "/integration/journal", r#""try-guest""#),
        ("-q", "/integration/journal", r#""auto""#),
        ("--register=no", "/unit/register", r#""no""#),
        ("--register=auto", "/unit/register", r#""auto""#),
        ("--register=yes", "/unit/register", r#""yes""#),
        ("-Smachine.slice", "/unit/slice", r#""machine.slice""#),
        ("--slice=a-b", "/unit/slice", r#""a-b.slice""#),
        ("-q", "/unit/place", r#""scope""#),
        ("--keep-unit", "/unit/place", r#""keep""#),
        ("--settings=no", "/notices", "[]"),
        ("--settings=yes", "/notices", "[]"),
        ("--settings=override", "/notices", "[]"),
        ("--settings=trusted", "/notices", "[]"),
        ("--system", "/notices", "[]"),
        ("--no-ask-password", "/root/image/no_ask_password", "true"),
        ("--no-pager", "/notices", "[]"),
        ("--share-system", "/namespaces/pid", "false"),
        ("--share-system", "/unit/register", r#""no""#),
    ]);
    let kept = spec(&["--keep-unit", "--slice=a"]);
    assert_eq!((kept.unit.slice, kept.notices.len()), (None, 1));
    assert_eq!(spec(&["--background=44"]).notices.len(), 1);
    bad(&[
        ("--console=", "it is none of interactive, read-only, passive, pipe, autopipe"),
        ("--console=x", "it is none of interactive, read-only, passive, pipe, autopipe"),
        ("--timezone=", "it is none of off, copy, bind, symlink, delete, auto"),
        (
            "--resolv-conf=",
            "it is none of off, copy-host, copy-static, copy-uplink, copy-stub, replace-host, replace-static, replace-uplink, replace-stub, bind-host, bind-static, bind-uplink, bind-stub, delete, auto",
        ),
        ("--link-journal=", "it is none of no, auto, guest, try-guest, host, try-host"),
        ("--register=", "it is none of yes, no, auto"),
        ("--settings=", "it is none of yes, no, override, trusted"),
        ("--settings=help", "it is none of yes, no, override, trusted"),
        ("--slice=", "it is no name of a slice"),
        ("--slice=x/y", "it is no name of a slice"),
        ("--slice=.slice", "it is no name of a slice"),
    ]);
    assert_eq!(printed(&["--resolv-conf=help"]).lines().count(), 15);
    assert_eq!(printed(&["--timezone=help"]), "off\ncopy\nbind\nsymlink\ndelete\nauto\n");
}

#[test]
fn limits() {
    good(&[
        ("--property=MemoryMax=1G", "/resources/memory_max", r#"{"value":1073741824}"#),
        ("--property=MemoryMax=infinity", "/resources/memory_max", r#""infinity""#),
        ("--property=MemoryMax=", "/resources/memory_max", r#""infinity""#),
        ("--property=MemoryMax=12.5%", "/resources/memory_max", r#"{"permyriad":1250}"#),
        ("--property=MemoryHigh=500M", "/resources/memory_high", r#"{"value":524288000}"#),
        ("--property=MemoryLow=0", "/resources/memory_low", r#"{"value":0}"#),
        ("--property=MemoryMin=1", "/resources/memory_min", r#"{"value":1}"#),
        ("--property=MemorySwapMax=0", "/resources/memory_swap_max", r#"{"value":0}"#),
        ("--property=MemoryLimit=1M", "/resources/memory_max", r#"{"value":1048576}"#),
        ("--property=TasksMax=100", "/resources/tasks_max", r#"{"value":100}"#),
        ("--property=TasksMax=50%", "/resources/tasks_max", r#"{"permyriad":5000}"#),
        ("--property=TasksMax=infinity", "/resources/tasks_max", r#""infinity""#),
        ("--property=CPUQuota=150%", "/resources/cpu_quota", "1500000"),
        ("--property=CPUQuota=", "/resources/cpu_quota", "null"),
        ("--property=CPUQuotaPeriodSec=10ms", "/resources/cpu_period_us", "10000"),
        ("--property=CPUWeight=10000", "/resources/cpu_weight", "10000"),
        ("--property=CPUShares=1024", "/resources/cpu_weight", "100"),
        ("--property=CPUShares=2", "/resources/cpu_weight", "1"),
        ("--property=IOWeight=1", "/resources/io_weight", "1"),
        ("--property=AllowedCPUs=0-1", "/resources/allowed_cpus", "[0,1]"),
        ("--property=DevicePolicy=strict", "/resources/device_policy", r#""strict""#),
        (
            "--property=DeviceAllow=/dev/fuse rw",
            "/resources/devices/0",
            r#"{"access":{"mknod":false,"read":true,"write":true},"devices":{"path":"/dev/fuse"}}"#,
        ),
        (
            "--property=DeviceAllow=/dev/fuse",
            "/resources/devices/0",
            r#"{"access":{"mknod":true,"read":true,"write":true},"devices":{"path":"/dev/fuse"}}"#,
        ),
        (
            "--property=DeviceAllow=char-pts r",
            "/resources/devices/0",
            r#"{"access":{"mknod":false,"read":true,"write":false},"devices":{"char-group":"pts"}}"#,
        ),
        (
            "--property=DeviceAllow=block-* m",
            "/resources/devices/0",
            r#"{"access":{"mknod":true,"read":false,"write":false},"devices":{"block-group":"*"}}"#,
        ),
        ("--property=MemoryAccounting=yes", "/notices", "[]"),
        ("--memory=512M", "/resources/memory_max", r#"{"value":536870912}"#),
        ("--memory=25%", "/resources/memory_max", r#"{"permyriad":2500}"#),
        ("--cpus=1.5", "/resources/cpu_quota", "1500000"),
        ("--cpus=2", "/resources/cpu_quota", "2000000"),
        ("--cpus=0.25", "/resources/cpu_quota", "250000"),
        ("--cpus=infinity", "/resources/cpu_quota", "null"),
        ("--pids=64", "/resources/tasks_max", r#"{"value":64}"#),
        ("-q", "/resources/device_policy", r#""closed""#),
    ]);
    assert_eq!(at(&["--property=AllowedCPUs=3", "--property=AllowedCPUs=0"], "/resources/allowed_cpus"), "[0,3]");
    assert_eq!(at(&["--property=AllowedCPUs=3", "--property=AllowedCPUs="], "/resources/allowed_cpus"), "null");
    assert_eq!(at(&["--property=DeviceAllow=/dev/x", "--property=DeviceAllow="], "/resources/devices"), "[]");
    assert_eq!(spec(&["--property=CPUShares=2048", "--property=MemoryLimit=1G", "--property=Description=x"]).notices.len(), 3);
    let no_cpus = "it is no number of CPUs such as 2 or 1.5";
    let no_device = "it is neither a path below /dev, nor char-GROUP, nor block-GROUP";
    bad(&[
        ("--property=", "it has no '=' between name and value"),
        ("--property=x", "it has no '=' between name and value"),
        ("--property==x", "the name is empty"),
        ("--property=Bogus=3", "there is no such limit in hostel"),
        ("--property=memorymax=3", "there is no such limit in hostel"),
        ("--property=Delegate=yes", "there is no such limit in hostel"),
        ("--property=MemoryMax=0", "nothing runs without memory"),
        ("--property=MemoryMax=x", "it does not start with a digit"),
        ("--property=MemoryMax=-1", "it must not be negative"),
        ("--property=MemoryMax=101%", "it is more than 100%"),
        ("--property=MemoryMax=99999999E", "it is too large"),
        ("--property=TasksMax=0", "nothing runs without a process"),
        ("--property=TasksMax=1K", "it is not a whole number"),
        ("--property=CPUQuota=0%", "nothing runs without CPU time"),
        ("--property=CPUQuota=50", "it does not end in '%'"),
        ("--property=CPUQuotaPeriodSec=2s", "it is not between 1ms and 1s"),
        ("--property=CPUQuotaPeriodSec=1us", "it is not between 1ms and 1s"),
        ("--property=CPUWeight=0", "it is not between 1 and 10000"),
        ("--property=CPUWeight=10001", "it is not between 1 and 10000"),
        ("--property=CPUWeight=idle", "idle is not implemented yet"),
        ("--property=CPUShares=1", "it is not between 2 and 262144"),
        ("--property=IOWeight=/dev/sda 10", "it is not a whole number"),
        ("--property=AllowedCPUs=x", "it takes CPU numbers and ranges such as 0-3,5"),
        ("--property=DevicePolicy=open", "it is none of auto, closed, strict"),
        ("--property=DeviceAllow=fuse", no_device),
        ("--property=DeviceAllow=/dev/", no_device),
        ("--property=DeviceAllow=/dev/../etc/passwd", no_device),
        ("--property=DeviceAllow=/etc/passwd rwm", no_device),
        ("--property=DeviceAllow=char-", no_device),
        ("--property=DeviceAllow=/dev/x rwx", "access is made of the letters r, w and m"),
        ("--property=DeviceAllow=/dev/x,rw rw,", "access is made of the letters r, w and m"),
        ("--property=MemoryAccounting=x", "it is neither yes nor no"),
        ("--memory=0", "nothing runs without memory"),
        ("--memory=-5", "it must not be negative"),
        ("--cpus=", no_cpus),
        ("--cpus=0", "it is less than a thousandth of a CPU"),
        ("--cpus=-1", no_cpus),
        ("--cpus=1.", no_cpus),
        ("--cpus=9999", no_cpus),
        ("--cpus=1e9", no_cpus),
        ("--pids=0", "nothing runs without a process"),
        ("--pids=x", "it is not a whole number"),
    ]);
}

#[test]
fn credentials() {
    good(&[
        ("--set-credential=a:b:c", "/credentials/0", r#"{"id":"a","source":{"bytes":[98,58,99]}}"#),
        ("--set-credential=a:", "/credentials/0/source", r#"{"bytes":[]}"#),
        (r"--set-credential=a.b:\x00\xff\n", "/credentials/0/source", r#"{"bytes":[0,255,10]}"#),
        ("--load-credential=a:/etc/x", "/credentials/0/source", r#"{"path":"/etc/x"}"#),
        ("--load-credential=a:./x", "/credentials/0/source", r#"{"path":"/work/x"}"#),
        ("--load-credential=a:x", "/credentials/0/source/stored/name", r#""x""#),
    ]);
    bad(&[
        ("--set-credential=a", "it has no ':' between name and value"),
        ("--set-credential=:x", "it is no credential's name: a file name of ASCII letters, digits and punctuation"),
        ("--set-credential=a/b:x", "it is no credential's name: a file name of ASCII letters, digits and punctuation"),
        (r"--set-credential=a:\q", "it has an unknown escape after a backslash"),
        ("--load-credential=a", "it has no ':' between name and path"),
        ("--load-credential=a:", "it names neither a path nor a credential"),
    ]);
    let twice = error(&["--set-credential=a:1", "--load-credential=a:/x"]).to_string();
    assert_eq!(twice, "parse --load-credential=a: there is a credential of this name already");
    let environment = environment(&[("CREDENTIALS_DIRECTORY", "/run/credentials/x")]);
    let Ok(Action::Run(spec)) = parse(&args(&["--load-credential=a:b"]), &environment) else { panic!() };
    let json = serde_json::to_string(&spec.credentials).unwrap();
    assert!(json.contains(r#"["/run/credentials/x","/etc/credstore","/run/credstore","/usr/local/lib/credstore","/usr/lib/credstore"]"#), "{json}");
}

#[test]
fn address_families_add_up() {
    let families = |words: &[&str]| serde_json::to_string(&spec(words).security.address_families).unwrap();
    let option = |value: &str| format!("--restrict-address-families={value}");
    let all = |values: &[&str]| {
        let words: Vec<String> = values.iter().map(|v| option(v)).collect();
        families(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(all(&["AF_INET AF_UNIX", "AF_INET6"]), r#"{"allow":true,"families":[2,1,10]}"#);
    assert_eq!(all(&["AF_INET AF_UNIX", "~AF_INET"]), r#"{"allow":true,"families":[1]}"#);
    assert_eq!(all(&["~AF_INET AF_UNIX", "AF_INET"]), r#"{"allow":false,"families":[1]}"#);
    assert_eq!(all(&["AF_INET", ""]), "null");
    assert_eq!(all(&["~AF_INET", "none"]), r#"{"allow":true,"families":[]}"#);
}

#[test]
fn cleanup_names_a_machine() {
    assert!(matches!(run(&["--cleanup", "-Mx"]), Ok(Action::Cleanup(_))));
    assert!(matches!(run(&["--cleanup", "-D/x"]), Ok(Action::Cleanup(_))));
    assert_eq!(error(&["--cleanup"]).to_string(), "clean up: nothing says which machine");
    assert!(error(&["--cleanup", "-xMx"]).to_string().starts_with("combine --cleanup and --ephemeral"));
}

#[test]
fn users_of_the_host() {
    let with = |option: &str| serde_json::to_string(&spec(&["-U", "--bind-user=bob", option]).bind_users).unwrap();
    assert_eq!(with("--bind-user=bob"), r#"{"names":["bob"],"shell":"default","groups":[]}"#);
    assert_eq!(with("--bind-user=al"), r#"{"names":["bob","al"],"shell":"default","groups":[]}"#);
    assert_eq!(with("--bind-user-shell=yes"), r#"{"names":["bob"],"shell":"host","groups":[]}"#);
    assert_eq!(with("--bind-user-shell=/bin/fish"), r#"{"names":["bob"],"shell":{"path":"/bin/fish"},"groups":[]}"#);
    assert_eq!(with("--bind-user-group=wheel"), r#"{"names":["bob"],"shell":"default","groups":["wheel"]}"#);
    assert!(error(&["--bind-user=bob"]).to_string().starts_with("combine --bind-user= and --private-users=no"));
    for (option, why) in [
        ("--bind-user=", "it is empty"),
        ("--bind-user=root", "every machine has its own root and nobody"),
        ("--bind-user=nobody", "every machine has its own root and nobody"),
        ("--bind-user=1000", "it is no name"),
        ("--bind-user=a/b", "it is no user name"),
        ("--bind-user-shell=x", "the path inside the machine is not absolute"),
        ("--bind-user-group=a b", "it is no name"),
    ] {
        assert_eq!(error(&["-U", option]).to_string().rsplit(": ").next().unwrap(), why, "{option}");
    }
}
