//! What is read from files: of the host, of a tree that may be hostile, and of our own state that may be damaged.

use hostel_engine::cgroup::Layout;
use hostel_engine::host;
use hostel_engine::registry::state::MachineState;
use hostel_engine::registry::{identity, undo};
use hostel_process::userdb;
use hostel_spec::MachineName;

use crate::{one_line, text};

/// mountinfo, then NUL, then /proc/self/cgroup.
pub(crate) const CGROUP_SEEDS: &[&str] = &[
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\x000::/user.slice\n",
    "31 23 0:27 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n32 31 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n33 31 0:29 / \
     /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n34 31 0:30 /a\\040b /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup \
     rw,cpu,cpuacct\n\x0012:memory:/x/../y\n1:name=systemd:/\n0::/\n",
];
/// passwd, then NUL, then group.
pub(crate) const USER_SEEDS: &[&str] = &[
    "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/bash\n\0root:x:0:\nusers:x:100:alice,bob\n",
    "a:x:4294967295:0:::\n::::::\na:x:01:-1:::\n+::::::\n\0a:x:65535:a\n",
];
pub(crate) const UNDO_SEEDS: &[&str] = &[
    "{\"undo\":\"boot\",\"id\":\"b\"}\n{\"undo\":\"cgroup\",\"path\":\"/sys/fs/cgroup/hostel/m\"}\n",
    "{\"undo\":\"link\",\"name\":\"ve-m\",\"alias\":\"hostel:m\"}\n{\"undo\":\"directory\",\"path\":\"/var/tmp/.#hostel-x\"}\n{\"undo\":\"mou",
    "{\"undo\":\"file\",\"path\":\"/etc/passwd\"}\nx\n{\"undo\":\"leader\",\"process\":{\"pid\":1}}\n",
];
pub(crate) const STAT_SEEDS: &[&str] = &[
    "1 (init) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 99 0 0\n",
    "7 (a) b) (c)) Z 1 1 1 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 18446744073709551615",
    "7 (x",
];

fn halves(data: &[u8]) -> (&[u8], &[u8]) {
    let at = data.iter().position(|b| *b == 0).unwrap_or(data.len());
    (&data[..at], data.get(at + 1..).unwrap_or_default())
}

/// How the host's cgroups are set up; every directory that is found is absolute and has no `..`.
pub fn cgroup_layout(data: &[u8]) {
    let (mountinfo, own) = halves(data);
    let (Some(mountinfo), Some(own)) = (text(mountinfo), text(own)) else { return };
    let layout = Layout::parse(mountinfo, own);
    assert_eq!(layout, Layout::parse(mountinfo, own));
}

/// os-release(5) of a tree.
pub fn os_release(data: &[u8]) {
    let Some(text) = text(data) else { return };
    for (key, _) in host::parse_os_release(text) {
        assert!(!key.contains(['=', '\n']), "{key:?}");
    }
}

/// machine-id(5) of a tree.
pub fn machine_id(data: &[u8]) {
    if let Some(id) = hostel_image::machine_id::parse(data) {
        assert_eq!(hostel_image::machine_id::parse(id.plain().as_bytes()), Some(id));
    }
}

/// passwd(5) and group(5) of a tree: whoever is not root there does not become root here.
pub fn users_database(data: &[u8]) {
    let (passwd, group) = halves(data);
    for who in ["root", "alice", "a", "0", "1000", "65534"] {
        let Ok(selector) = userdb::parse_selector(who) else { continue };
        match userdb::resolve(passwd, group, &selector) {
            Ok(user) => {
                assert!(user.uid != u32::MAX && user.gid != u32::MAX);
                assert!(user.home.starts_with('/') && user.shell.starts_with('/'));
            }
            Err(error) => one_line(&error),
        }
    }
}

/// A machine's state file, perhaps damaged.
pub fn state_file(data: &[u8]) {
    let Ok(name) = MachineName::new("m") else { return };
    match MachineState::parse(data, &name) {
        Ok(state) => assert_eq!(state.name, name),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A machine's undo journal, perhaps damaged: what was understood is written such that it is read again.
pub fn undo_journal(data: &[u8]) {
    let journal = undo::Journal::parse(data);
    for record in &journal.records {
        let again = undo::Journal::parse(&record.to_line());
        assert_eq!(again.records.as_slice(), std::slice::from_ref(record));
    }
}

/// /proc/PID/stat, whose program name may hold anything.
pub fn process_stat(data: &[u8]) {
    let _ = identity::Stat::parse(data);
}

pub(crate) const UNIT_SEEDS: &[&str] = &[
    "[Unit]\nDescription=x\n\n[Service]\nExecStart=/bin/sh -c \\\n# comment\n  true\nRestart=\n[Install]\n",
    "\u{feff}; c\r\n[A]\r\nk=v\\\\\r\n\0l=w\n",
    "k=v\n[A\n",
    "[A]\nword\n=v\n[A]\nk=%i\\",
];

/// A file of sections: what is kept is trimmed and in order, and every error is one line.
pub fn unit_file(data: &[u8]) {
    match hostel_unit::file::File::parse(data) {
        Err(error) => crate::one_line(&error),
        Ok(file) => {
            let assignments: Vec<_> = file.sections.iter().flat_map(|s| &s.assignments).collect();
            assert!(assignments.is_sorted_by(|a, b| a.line < b.line));
            for a in assignments {
                assert!(!a.key.is_empty() && a.key.len() + a.value.len() < hostel_unit::file::LINE_MAX);
                match hostel_unit::specifier::expand(&a.value, |c| Ok((c == 'i').then(|| "x".into()))) {
                    Ok(text) => assert!(a.value.contains('%') || text == a.value),
                    Err(error) => crate::one_line(&error),
                }
            }
        }
    }
}
