//! Users of the host inside: an id of the machine that is the user's on the host, a record of it, and its home.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use hostel_spec::{Arrange as _, BoundShell, OsText, ProcessSpec, UserSelector};
use hostel_sys::mount::Attributes;
use serde_json::json;

use super::steps::{HostStep, Missing, Node, PayloadStep, Prepared, Source};
use super::{Builder, TreeFacts};
use crate::error::{Error, Result};
use crate::users::{HostUser, Taken};

/// Ids that containers give to users of the host (systemd's "UIDs and GIDs on systemd systems").
const FIRST: u32 = 60514;
const LAST: u32 = 60577;

/// Inside, the homes are here.
const HOMES: &str = "/run/host/home";

/// A user of the host and its ids in the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundUser {
    /// As the host knows it.
    pub user: HostUser,
    /// Its user id inside.
    pub uid: u32,
    /// Its group's id inside.
    pub gid: u32,
}

impl BoundUser {
    fn home(&self) -> PathBuf {
        Path::new(HOMES).join(&self.user.name)
    }
}

/// Gives every user ids that the tree has not.
pub(super) fn bind(users: &[HostUser], tree: &TreeFacts) -> Result<Vec<BoundUser>> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let Some(taken) = &tree.users else {
        return Err(Error::new("bind", "users of the host", "it is not known which users the tree will have: that takes a directory that is there"));
    };
    let mut free = (FIRST..=LAST).filter(|id| !taken.users.iter().chain(&taken.groups).any(|(_, other)| other == id));
    let mut out: Vec<BoundUser> = Vec::with_capacity(users.len());
    for user in users {
        check_names(user, taken)?;
        let id = free.next().ok_or_else(|| Error::new("bind", format!("user {:?}", user.name), format!("no id of {FIRST} to {LAST} is free")))?;
        // Users of one group stay together.
        let gid = out.iter().find(|other| other.user.gid == user.gid).map_or(id, |other| other.gid);
        out.push(BoundUser { user: user.clone(), uid: id, gid });
    }
    Ok(out)
}

fn check_names(user: &HostUser, taken: &Taken) -> Result<()> {
    let refuse = |why: String| Err(Error::new("bind", format!("user {:?}", user.name), why));
    if taken.users.iter().any(|(name, _)| *name == user.name) {
        return refuse("the machine has a user of this name".into());
    }
    if taken.groups.iter().any(|(name, _)| *name == user.group) {
        return refuse(format!("the machine has a group {:?}", user.group));
    }
    Ok(())
}

/// A command that runs as a bound user: its name is known by its record only.
pub(super) fn become_bound(process: &mut ProcessSpec, bound: &[BoundUser]) {
    let Some(UserSelector::Name(name)) = &process.user else { return };
    let Some(found) = bound.iter().find(|b| b.user.name == *name) else { return };
    let home = found.home();
    let own = [format!("HOME={}", home.display()), format!("USER={name}"), format!("LOGNAME={name}")];
    process.env.splice(0..0, own.map(OsText::from));
    process.user = Some(UserSelector::Id(found.uid));
    if process.argv.is_empty() && process.cwd.is_none() {
        process.cwd = Some(home);
    }
}

/// uid_map or gid_map: the range, and in it single ids that are the host's own: (inside, on the host).
pub fn id_map(base: u32, count: u32, singles: &[(u32, u32)]) -> String {
    let mut singles = singles.to_vec();
    singles.arrange();
    singles.dedup();
    let mut out = String::new();
    let mut next = 0;
    let mut line = |inside: u32, outside: u32, count: u32| {
        if count > 0 {
            out.push_str(&format!("{inside} {outside} {count}\n"));
        }
    };
    for (inside, outside) in singles {
        line(next, base + next, inside - next);
        line(inside, outside, 1);
        next = inside + 1;
    }
    line(next, base + next, count - next);
    out
}

impl Builder<'_> {
    /// Their records in /run/host/userdb, as nss-systemd reads them, and mount points of their homes.
    pub(super) fn user_records(&self) -> Vec<Node> {
        let mut nodes = Vec::new();
        if self.bound.is_empty() {
            return nodes;
        }
        let mut put = |node: Option<Node>| nodes.extend(node);
        let dir = |path: String| CString::new(path).ok().map(|path| Node::Dir(path, 0o755));
        let file = |path: String, mode: u32, text: String| CString::new(path).ok().map(|path| Node::File(path, mode, text.into_bytes()));
        let link = |path: String, target: String| Some(Node::Link(CString::new(path).ok()?, CString::new(target).ok()?));
        put(dir("host/home".into()));
        put(dir("host/userdb".into()));
        let mut groups: Vec<u32> = Vec::new();
        for b in &self.bound {
            let (name, group) = (&b.user.name, &b.user.group);
            put(dir(format!("host/home/{name}")));
            put(file(format!("host/userdb/{name}.user"), 0o444, self.user_record(b)));
            put(link(format!("host/userdb/{}.user", b.uid), format!("{name}.user")));
            if let Some(hash) = &b.user.password {
                let secret = json!({ "privileged": { "hashedPassword": [hash] } });
                put(file(format!("host/userdb/{name}.user-privileged"), 0o400, format!("{secret}\n")));
                put(link(format!("host/userdb/{}.user-privileged", b.uid), format!("{name}.user-privileged")));
            }
            if !groups.contains(&b.gid) {
                groups.push(b.gid);
                let record = json!({ "groupName": group, "gid": b.gid, "disposition": "container", "service": "io.systemd.NSpawn" });
                put(file(format!("host/userdb/{group}.group"), 0o444, format!("{record}\n")));
                put(link(format!("host/userdb/{}.group", b.gid), format!("{group}.group")));
            }
            for further in &self.spec.bind_users.groups {
                put(file(format!("host/userdb/{name}:{further}.membership"), 0o444, String::new()));
            }
        }
        nodes
    }

    fn user_record(&self, b: &BoundUser) -> String {
        let bind = &self.spec.bind_users;
        let mut record = json!({
            "userName": b.user.name,
            "uid": b.uid,
            "gid": b.gid,
            "disposition": "container",
            "homeDirectory": b.home().to_string_lossy(),
            "service": "io.systemd.NSpawn",
        });
        match &bind.shell {
            BoundShell::Default => {}
            BoundShell::Host => record["shell"] = json!(b.user.shell),
            BoundShell::Path(path) => record["shell"] = json!(path.to_string_lossy()),
        }
        if !bind.groups.is_empty() {
            record["memberOf"] = json!(bind.groups);
        }
        format!("{record}\n")
    }

    pub(super) fn bound_homes(&mut self) {
        for b in self.bound.clone() {
            let slot = self.slot();
            let source = Source::Path(b.user.home.clone().into());
            let attributes = Attributes::NOSUID.or(Attributes::NODEV);
            self.host.push(HostStep::Prepare(slot, Prepared::Clone { source, recursive: true, attributes }));
            self.payload.push(PayloadStep::Attach { slot, target: b.home(), missing: Missing::Fail, read_only: false });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, uid: u32, gid: u32) -> HostUser {
        HostUser { name: name.into(), uid, gid, group: format!("g{gid}"), home: format!("/home/{name}"), shell: "/bin/zsh".into(), password: None }
    }

    #[test]
    fn maps() {
        assert_eq!(id_map(1 << 20, 65536, &[]), "0 1048576 65536\n");
        assert_eq!(id_map(1 << 20, 65536, &[(60514, 1000)]), "0 1048576 60514\n60514 1000 1\n60515 1109091 5021\n");
        let two = id_map(1 << 20, 65536, &[(60516, 1001), (60514, 1000), (60514, 1000)]);
        assert_eq!(two, "0 1048576 60514\n60514 1000 1\n60515 1109091 1\n60516 1001 1\n60517 1109093 5019\n");
        assert_eq!(id_map(0, 3, &[(0, 7), (2, 9)]), "0 7 1\n1 1 1\n2 9 1\n");
    }

    #[test]
    fn ids_and_names() {
        let taken = Taken { users: vec![("root".into(), 0), ("x".into(), 60514)], groups: vec![("wheel".into(), 10), ("y".into(), 60515)] };
        let tree = |users: Option<Taken>| TreeFacts { users, ..TreeFacts::default() };
        let bound = bind(&[user("a", 1000, 100), user("b", 1001, 100), user("c", 1002, 101)], &tree(Some(taken.clone()))).unwrap();
        let ids: Vec<_> = bound.iter().map(|b| (b.uid, b.gid)).collect();
        assert_eq!(ids, [(60516, 60516), (60517, 60516), (60518, 60518)]);
        let said = |u: HostUser, t: Option<Taken>| bind(&[u], &tree(t)).unwrap_err().to_string();
        assert!(said(user("x", 1000, 100), Some(taken.clone())).ends_with("the machine has a user of this name"));
        assert!(said(HostUser { group: "wheel".into(), ..user("a", 1000, 100) }, Some(taken)).ends_with("the machine has a group \"wheel\""));
        let full = Taken { users: (FIRST..=LAST).map(|n| (format!("u{n}"), n)).collect(), groups: Vec::new() };
        assert!(said(user("a", 1000, 100), Some(full)).ends_with("no id of 60514 to 60577 is free"));
        assert!(said(user("a", 1000, 100), None).contains("not known"));
    }
}
