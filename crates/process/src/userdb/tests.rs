use super::*;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

const PASSWD: &[u8] = b"# comment\nroot:x:0:0:root:/root:/bin/bash\n+::::::\nbad:x:zz:1::/:/bin/sh\nneg:x:-1:0::/:/bin/sh\n\
    web:x:33:34:Web,,:/var/www:/usr/sbin/nologin\nrel:x:50:50::www:sh\nshort:x:60:60\nweb:x:99:99::/second:/bin/sh\ntwin:x:33:77::/t:/bin/sh\n\
    max:x:4294967295:0::/:/bin/sh\nsixteen:x:65535:0::/:/bin/sh\nzero:x:007:7::/:/bin/sh\n:x:70:70::/:/bin/sh\nnobin:x:80:80::/h:";
const GROUP: &[u8] = b"root:x:0:\nweb:x:34:web\nz:x:900:a,web\naudio:x:29:web,b\nbad:x:no:web\nmax:x:4294967295:web\nagain:x:29:web\n\
    almost:x:30:webx,we\nshort:x\nsp:x:31: web\n";

fn name(text: &str) -> UserSelector {
    UserSelector::Name(text.to_owned())
}

#[test]
fn selectors() {
    for (text, want) in [
        ("0", Some(UserSelector::Id(0))),
        ("1000", Some(UserSelector::Id(1000))),
        ("4294967294", Some(UserSelector::Id(4_294_967_294))),
        ("65534", Some(UserSelector::Id(65534))),
        ("web", Some(name("web"))),
        ("_apt", Some(name("_apt"))),
        ("a.b-c_1$", Some(name("a.b-c_1$"))),
        ("", None),
        ("1x", None),
        (" 0", None),
        ("0 ", None),
        ("-1", None),
        ("+1", None),
        ("0:-1", None),
        ("0:0", None),
        ("00", None),
        ("007", None),
        ("0x10", None),
        ("4294967295", None),
        ("4294967296", None),
        ("99999999999999999999999", None),
        ("65535", None),
        ("a:b", None),
        ("a/b", None),
        ("a\n", None),
        ("a b", None),
        ("١", None),
    ] {
        assert_eq!(parse_selector(text).ok(), want, "{text:?}");
    }
    assert!(parse_selector(&"a".repeat(257)).is_err());
}

#[test]
fn entries() {
    let user = |who: UserSelector| resolve(PASSWD, GROUP, &who);
    let web = user(name("web")).unwrap();
    assert_eq!((web.uid, web.gid, web.groups.as_slice()), (33, 34, &[34, 29, 900][..]));
    assert_eq!((web.home.as_str(), web.shell.as_str()), ("/var/www", "/usr/sbin/nologin"));
    assert_eq!(user(UserSelector::Id(33)).unwrap(), web);
    for (who, uid, gid, home, shell) in [
        (name("root"), 0, 0, "/root", "/bin/bash"),
        (name("rel"), 50, 50, "/", "/bin/sh"),
        (name("short"), 60, 60, "/", "/bin/sh"),
        (name("nobin"), 80, 80, "/h", "/bin/sh"),
        (name("twin"), 33, 77, "/t", "/bin/sh"),
        (UserSelector::Id(1234), 1234, 1234, "/", "/bin/sh"),
        (UserSelector::Id(7), 7, 7, "/", "/bin/sh"),
    ] {
        let got = user(who.clone()).unwrap();
        assert_eq!((got.uid, got.gid), (uid, gid), "{who:?}");
        assert_eq!((got.home.as_str(), got.shell.as_str()), (home, shell), "{who:?}");
        assert_eq!(got.groups, [gid], "{who:?}");
    }
    for unknown in ["nobody", "bad", "neg", "max", "sixteen", "zero", "+", "", "Web"] {
        let error = user(name(unknown)).unwrap_err();
        assert_eq!(error, UserError::Unknown(unknown.to_owned()));
        assert_eq!(error.to_string(), format!("find user {unknown:?}: no such user in the machine's /etc/passwd"));
    }
    for id in [65535, u32::MAX] {
        assert!(user(UserSelector::Id(id)).is_err());
    }
    assert_eq!(resolve(b"", b"", &name("root")).unwrap().home, "/root");
    assert_eq!(resolve(b"", b"", &UserSelector::Id(0)).unwrap().name, "root");
}

#[test]
fn garbage_is_survived() {
    // Every prefix and every single byte changed to every separator.
    for text in [PASSWD, GROUP] {
        for cut in 0..text.len() {
            let mut bytes = text.to_vec();
            for byte in [b':', b'\n', b',', 0, 0xff] {
                bytes[cut] = byte;
                let _ = resolve(&bytes, &bytes, &name("web"));
            }
            let _ = resolve(&text[..cut], &text[cut..], &name("web"));
        }
    }
}

fn tree(tag: &str) -> (PathBuf, OwnedFd) {
    let path = std::env::temp_dir().join(format!("hostel-userdb-{tag}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(path.join("etc")).unwrap();
    let fd = rustix::fs::open(&path, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    (path, fd)
}

#[test]
fn hostile_files() {
    let (path, root) = tree("hostile");
    let passwd = path.join("etc/passwd");
    let web = || lookup(root.as_fd(), &name("web"));
    assert_eq!(web().unwrap_err(), UserError::Unknown("web".into()));
    assert_eq!(lookup(root.as_fd(), &name("root")).unwrap().uid, 0);
    std::fs::write(path.join("etc/group"), GROUP).unwrap();
    std::fs::write(&passwd, PASSWD).unwrap();
    assert_eq!(web().unwrap().groups, [34, 29, 900]);
    // A link is resolved inside: the host's own file is never read.
    std::fs::remove_file(&passwd).unwrap();
    std::os::unix::fs::symlink("/../../../etc/../data/passwd", &passwd).unwrap();
    assert!(web().is_err());
    std::fs::create_dir(path.join("data")).unwrap();
    std::fs::write(path.join("data/passwd"), PASSWD).unwrap();
    assert_eq!(web().unwrap().uid, 33);
    std::fs::remove_file(&passwd).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &passwd, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o644), 0).unwrap();
    assert_eq!(web().unwrap_err().to_string(), "read /etc/passwd of the machine: it is not a regular file");
    std::fs::remove_file(&passwd).unwrap();
    std::fs::File::create(&passwd).unwrap().set_len(1 << 30).unwrap();
    assert_eq!(web().unwrap_err().to_string(), "read /etc/passwd of the machine: it is larger than 1 MiB");
    std::fs::remove_file(&passwd).unwrap();
    std::os::unix::fs::symlink("passwd", &passwd).unwrap();
    assert!(matches!(web().unwrap_err(), UserError::Os { .. }));
    std::fs::remove_dir_all(&path).unwrap();
}
