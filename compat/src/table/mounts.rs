//! Binds, tmpfs, overlays, inaccessible paths.

use crate::scenario::Scenario;

/// A directory with a file of root's and one of a user's.
const SOURCE: &str = "mkdir $D/src; echo hi >$D/src/f; echo own >$D/src/u; chown 1000:1000 $D/src/u; chmod 640 $D/src/u";
/// What is on /mnt, and whether it can be written.
const LOOK: &str = "cd /mnt || exit 9; stat -c '%u:%g %a %F %n' . *; cat f u; echo new >g && echo wrote; exit 3";
/// Two layers and a place for changes.
const LAYERS: &str = "mkdir $D/low $D/mid $D/up; echo low >$D/low/f; echo low >$D/low/u; echo mid >$D/mid/u; echo mid >$D/mid/m; chown 1000 $D/mid/m";

pub(super) fn rows() -> Vec<Scenario> {
    [binds(), others(), with_users()].into_iter().flatten().collect()
}

fn binds() -> Vec<Scenario> {
    let view = Scenario::view;
    let on_mnt = |name, option| Scenario::new(name, &[option, "sh", "-c", LOOK]).before(SOURCE);
    let shell = |name, option, script| Scenario::new(name, &[option, "sh", "-c", script]);
    vec![
        on_mnt("bind", "--bind={dir}/src:/mnt"),
        on_mnt("bind-ro", "--bind-ro={dir}/src:/mnt"),
        on_mnt("bind-noidmap", "--bind={dir}/src:/mnt:noidmap"),
        on_mnt("bind-inside-tree", "--bind=+/etc/passwd:/mnt/f").before(""),
        on_mnt("bind-trailing-slash", "--bind={dir}/src/:/mnt/"),
        on_mnt("bind-idmap-without-users", "--bind={dir}/src:/mnt:idmap"),
        on_mnt("bind-rootidmap-without-users", "--bind={dir}/src:/mnt:rootidmap"),
        on_mnt("bind-escaped-colon", "--bind={dir}/a\\:b:/mnt").before("mkdir $D/a:b; echo hi >$D/a:b/f; echo u >$D/a:b/u"),
        on_mnt("bind-onto-link", "--bind={dir}/src:/link").before("mkdir $D/src; echo hi >$D/src/f; echo u >$D/src/u; ln -s mnt $T/link"),
        on_mnt("bind-relative-source", "--bind=src:/mnt"),
        shell("bind-same-path", "--bind={dir}/src", "cat {dir}/src/f").before(SOURCE),
        shell("bind-file-to-missing", "--bind={dir}/src/f:/new/dir/file", "cat /new/dir/file; stat -c '%a %u' /new /new/dir /new/dir/file")
            .before(SOURCE),
        shell("bind-dir-to-missing", "--bind={dir}/src:/new/dir/place", "cat /new/dir/place/f; stat -c '%a %u' /new /new/dir").before(SOURCE),
        shell("bind-file-on-file", "--bind-ro={dir}/src/f:/etc/passwd", "cat /etc/passwd; echo x >>/etc/passwd").before(SOURCE),
        shell("bind-file-on-directory", "--bind={dir}/src/f:/mnt", "cat /mnt").before(SOURCE),
        shell("bind-directory-on-file", "--bind={dir}/src:/etc/passwd", "ls /etc/passwd").before(SOURCE),
        shell("bind-missing-source", "--bind={dir}/none:/mnt", "echo started"),
        shell("bind-missing-inside", "--bind=+/none:/mnt", "echo started"),
        shell("bind-temporary", "--bind=:/scratch", "echo x >/scratch/f; stat -c '%a %u' /scratch; cat /scratch/f"),
        shell("bind-socket", "--bind={dir}/pipe:/run/pipe", "stat -c '%F %a' /run/pipe").before("mkfifo $D/pipe"),
        shell("bind-device", "--bind=/dev/zero:/dev/other", "stat -c '%F %t:%T' /dev/other; head -c 3 /dev/other | od -An -tx1"),
        shell("bind-below-proc", "--bind={dir}/src/f:/proc/uptime", "cat /proc/uptime").before(SOURCE),
        shell("bind-below-dev", "--bind={dir}/src/f:/dev/thing", "cat /dev/thing").before(SOURCE),
        shell("bind-on-tmp", "--bind={dir}/src:/tmp", "cat /tmp/f").before(SOURCE),
        shell("bind-with-submount", "--bind={dir}/src:/mnt", "ls /mnt/sub")
            .before("mkdir -p $D/src/sub; mount -t tmpfs none $D/src/sub; touch $D/src/sub/inside"),
        shell("bind-norbind", "--bind={dir}/src:/mnt:norbind", "ls /mnt/sub")
            .before("mkdir -p $D/src/sub; mount -t tmpfs none $D/src/sub; touch $D/src/sub/inside"),
        shell("bind-ro-with-submount", "--bind-ro={dir}/src:/mnt", "touch /mnt/sub/new; ls /mnt/sub")
            .before("mkdir -p $D/src/sub; mount -t tmpfs none $D/src/sub; touch $D/src/sub/inside"),
        shell("bind-unknown-option", "--bind={dir}/src:/mnt:bogus", "echo started").before(SOURCE),
        shell("bind-dot-dot", "--bind={dir}/src:/mnt/../opt", "ls /opt").before(SOURCE),
        view("bind-view", &["--bind={dir}/src:/mnt", "--bind-ro={dir}/src:/opt"]).before(SOURCE),
        Scenario::new("bind-two-on-one", &["--bind={dir}/src:/mnt", "--bind={dir}/other:/mnt", "ls", "/mnt"])
            .before("mkdir $D/src $D/other; touch $D/src/first $D/other/second"),
        Scenario::new("bind-below-bind", &["--bind={dir}/src:/mnt/deep", "--bind={dir}/other:/mnt", "find", "/mnt"])
            .before("mkdir $D/src $D/other; touch $D/src/first $D/other/second"),
    ]
}

/// tmpfs, overlays, inaccessible paths.
fn others() -> Vec<Scenario> {
    let view = Scenario::view;
    let overlay = |name, option| {
        Scenario::new(name, &[option, "sh", "-c", "cd /mnt || exit 9; stat -c '%u:%g %a %F %n' *; cat *; rm -f f; echo new >u && echo wrote; ls"])
            .before(LAYERS)
    };
    let shell = |name, option, script| Scenario::new(name, &[option, "sh", "-c", script]);
    vec![
        view("tmpfs", &["--tmpfs=/mnt"]),
        view("tmpfs-options", &["--tmpfs=/var:size=1M,mode=0700,noexec"]),
        view("tmpfs-new-place", &["--tmpfs=/new/place:uid=1000,gid=1000"]),
        view("tmpfs-on-tmp", &["--tmpfs=/tmp:size=1M"]),
        shell("tmpfs-bad-option", "--tmpfs=/mnt:bogus=1", "echo started"),
        overlay("overlay", "--overlay={dir}/low:{dir}/mid:{dir}/up:/mnt"),
        overlay("overlay-ro", "--overlay-ro={dir}/low:{dir}/mid:/mnt"),
        overlay("overlay-temporary-upper", "--overlay={dir}/low:{dir}/mid::/mnt"),
        overlay("overlay-of-tree", "--overlay=+/etc:{dir}/up:/mnt"),
        overlay("overlay-missing-lower", "--overlay={dir}/none:{dir}/up:/mnt"),
        shell("overlay-missing-target", "--overlay={dir}/low:{dir}/mid:{dir}/up:/brand/new", "cat /brand/new/f").before(LAYERS),
        overlay("overlay-two-words", "--overlay=+/etc::/mnt"),
        view("overlay-view", &["--overlay={dir}/low:{dir}/mid:{dir}/up:/mnt", "--overlay-ro={dir}/low:{dir}/mid:/opt"]).before(LAYERS),
        // resolv.conf and localtime come after the mounts
        shell("bind-ro-over-resolv-conf", "--bind-ro={dir}/src/f:/etc/resolv.conf", "cat /etc/resolv.conf").before(SOURCE),
        shell("tmpfs-over-etc", "--tmpfs=/etc", "ls /etc"),
        shell("overlay-over-etc", "--overlay=+/etc:{dir}/up:/etc", "cat /etc/resolv.conf; exit 3").before(LAYERS),
        shell("inaccessible-file", "--inaccessible=/etc/passwd", "cat /etc/passwd; stat -c '%a %F' /etc/passwd"),
        shell("inaccessible-directory", "--inaccessible=/home", "ls /home; touch /home/x; stat -c '%a %F' /home"),
        shell("inaccessible-missing", "--inaccessible=/none", "echo started"),
    ]
}

/// In a user namespace.
fn with_users() -> Vec<Scenario> {
    let mut rows = Vec::new();
    for (name, option) in [
        ("bind-users", "--bind={dir}/src:/mnt"),
        ("bind-users-idmap", "--bind={dir}/src:/mnt:idmap"),
        ("bind-users-rootidmap", "--bind={dir}/src:/mnt:rootidmap"),
        ("bind-users-ro-idmap", "--bind-ro={dir}/src:/mnt:idmap"),
        ("bind-users-norbind-idmap", "--bind={dir}/src:/mnt:norbind,idmap"),
        ("tmpfs-users", "--tmpfs=/mnt:uid=1000,mode=0700"),
        ("overlay-users", "--overlay={dir}/src:{dir}/up:/mnt"),
        ("inaccessible-users", "--inaccessible=/etc/passwd"),
        ("bind-users-temporary", "--bind=:/mnt"),
    ] {
        rows.push(
            Scenario::new(name, &["-U", option, "sh", "-c", LOOK])
                .before("mkdir $D/src $D/up; echo hi >$D/src/f; echo own >$D/src/u; chown 1000:1000 $D/src/u; chmod 644 $D/src/u"),
        );
    }
    rows
}
