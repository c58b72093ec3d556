//! `--set-credential`, `--load-credential`: what PID 1 finds in `$CREDENTIALS_DIRECTORY`, and that nobody else does.

use std::io::Write as _;

use hostel_tests::Bed;

const SHOW: &str = r#"echo "$CREDENTIALS_DIRECTORY"; cd /run/host/credentials && for f in *; do stat -c '%n %a %u:%g' "$f"; cat "$f"; echo; done"#;

#[test]
fn values_files_directories_sockets_and_names() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.little();
    let place = bed.fresh("credentials");
    std::fs::create_dir_all(place.join("d/sub")).expect("mkdir");
    std::fs::write(place.join("file"), "of a file").expect("write");
    std::fs::write(place.join("d/sub/x"), "of a directory").expect("write");
    let socket = place.join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("bind");
    let server = std::thread::spawn(move || listener.accept().map(|(mut s, _)| s.write_all(b"of a socket")));
    let at = |name: &str| place.join(name).display().to_string();
    let out = bed
        .nspawn(
            &tree,
            [
                r"--set-credential=a:line\x20one\n\x41".to_string(),
                format!("--load-credential=b:{}", at("file")),
                format!("--load-credential=c:{}", at("d")),
                format!("--load-credential=d:{}", at("socket")),
                "--load-credential=e:file".to_string(),
                "sh".to_string(),
                "-c".to_string(),
                SHOW.replace("stat -c '%n %a %u:%g'", "busybox stat -c '%n %a %u:%g'"),
            ],
        )
        .env("CREDENTIALS_DIRECTORY", &place)
        .run()
        .exits(0);
    let _ = server.join();
    out.prints(
        "/run/host/credentials\na 400 0:0\nline one\nA\nb 400 0:0\nof a file\nc_sub_x 400 0:0\nof a directory\nd 400 0:0\nof a socket\ne 400 0:0\nof a file",
    );
}

#[test]
fn read_only_and_only_for_root() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let script = "stat -c '%a %u:%g' /run/host/credentials; grep -c ' /run/host/credentials ramfs ro,nosuid,nodev,noexec' /proc/mounts; \
        cat /run/host/credentials/k; echo; touch /run/host/credentials/n 2>&1; echo x 2>/dev/null >/run/host/credentials/k || echo refused; \
        mount -o remount,rw,bind /run/host/credentials 2>/dev/null; touch /run/host/credentials/n 2>/dev/null || echo still refused; \
        su alice -c 'cat /run/host/credentials/k' 2>/dev/null || echo not for alice";
    for users in ["--private-users=no", "-U"] {
        let out = bed.nspawn(&tree, [users, "--set-credential=k:secret", "sh", "-c", script]).run().exits(0);
        out.prints("500 0:0\n1\nsecret\ntouch: /run/host/credentials/n: Read-only file system\nrefused\nstill refused\nnot for alice");
    }
}

#[test]
fn a_user_without_a_way_to_root_may_read_them() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    for users in ["--private-users=no", "-U"] {
        let show = ["sh", "-c", "stat -c %a /run/host/credentials /run/host/credentials/k; cat /run/host/credentials/k"];
        let args = [users, "--set-credential=k:secret", "-u", "alice", "--no-new-privileges=yes"];
        bed.nspawn(&tree, args.into_iter().chain(show)).run().exits(0).prints("555\n444\nsecret");
    }
    bed.nspawn(&tree, ["--set-credential=k:secret", "-u", "alice", "cat", "/run/host/credentials/k"]).run().exits(1);
}

#[test]
fn nothing_starts_without_them() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.little();
    for (option, words) in [
        ("--load-credential=k:/nonexistent/x", "/nonexistent/x: No such file or directory"),
        ("--load-credential=k:nowhere-kept", "/run/credstore"),
        ("--load-credential=k:/dev/zero", "larger than 1 MiB"),
    ] {
        bed.nspawn(&tree, [option, "/probe", "touch", "/etc/started"]).run().exits(1).says(words);
    }
    assert!(!tree.at("/etc/started").exists());
}

#[test]
fn without_credentials_there_is_no_directory() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.little();
    bed.nspawn(&tree, ["sh", "-c", "echo \"${CREDENTIALS_DIRECTORY-none}\"; busybox ls /run/host/credentials 2>/dev/null || echo none"])
        .run()
        .exits(0)
        .prints("none\nnone");
}
