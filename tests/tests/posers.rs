//! Processes that call themselves somebody's machine, of an ordinary user and in a machine: nothing of ours goes into them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hostel_tests::{Bed, Invocation, Running, eventually};

const SOON: Duration = Duration::from_secs(20);
const TITLE: &str = "[lxc monitor] /var/lib/lxc ";

/// The probe under another name.
#[track_caller]
fn program(directory: &Path, name: &str, mode: u32) -> PathBuf {
    let path = directory.join(name);
    std::fs::copy(hostel_tests::probe(), &path).expect("copy the probe");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
    path
}

#[track_caller]
fn posed(poser: Invocation) -> Running {
    let running = poser.limit(Duration::from_secs(120)).start();
    assert!(eventually(SOON, || running.stdout().contains("posed")), "{}{}", running.stdout(), running.stderr());
    assert!(!running.stdout().contains("not posed"), "{}", running.stdout());
    running
}

/// Whatever is done to a machine of this name: there is none.
#[track_caller]
fn is_nobody(bed: &Bed, name: &str, what: &str) {
    let secret = bed.dir().join("secret");
    std::fs::write(&secret, "root's").expect("write");
    let (secret, public) = (secret.display().to_string(), bed.dir().display().to_string());
    let there = format!("{name}:/proc/version");
    let orders: &[&[&str]] = &[
        &["cp", &secret, &format!("{name}:/tmp/{name}-secret")],
        &["cp", &there, &format!("{public}/version")],
        &["bind", name, &public, "/mnt"],
        &["exec", name, "true"],
        &["login", name],
        &["stop", "--strict", name],
        &["nspawn-enter", name],
        &["machinectl", "copy-to", name, &secret, "/tmp/x"],
        &["machinectl", "bind", name, &public, "/mnt"],
        &["machinectl", "shell", name, "/bin/true"],
    ];
    for order in orders {
        let outcome = bed.hostel(*order).run();
        assert!(outcome.code != Some(0) && outcome.errors().contains("does not run"), "{what}: {}", outcome.describe());
    }
    bed.hostel(["nspawn-stop", name]).run().exits(0);
    assert!(!bed.dir().join("version").exists() && !Path::new(&format!("/tmp/{name}-secret")).exists(), "{what}");
}

/// `ARGV0 ARGS…` of a program, as nobody.
fn as_nobody(program: &Path, words: &[&str]) -> Invocation {
    let (title, rest) = words.split_first().expect("words");
    let nobody = Invocation::new("setpriv").args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    nobody.args(["bash", "-c", "exec -a \"$0\" \"$@\"", title]).arg(program).args(rest).env("HOSTEL_PROBE_POSE", "")
}

#[test]
fn nobody_is_no_supervisor() {
    let Some(bed) = Bed::start() else { return };
    let bin = bed.fresh("bin");
    for (n, mode) in [0o755, 0o4755].into_iter().enumerate() {
        let directory = bin.join(n.to_string());
        std::fs::create_dir(&directory).expect("mkdir");
        let (nspawn, lxc) = (program(&directory, "systemd-nspawn", mode), program(&directory, "lxc-start", mode));
        let name = bed.name();
        let cases: [(&PathBuf, Vec<String>); 3] = [
            (&nspawn, vec!["systemd-nspawn".into(), "-M".into(), name.clone(), "-D".into(), "/x".into()]),
            (&lxc, vec![format!("{TITLE}{name}")]),
            (&lxc, vec!["lxc-start".into(), "-n".into(), name.clone(), "-F".into()]),
        ];
        for (program, words) in cases {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let running = posed(as_nobody(program, &words));
            is_nobody(&bed, &name, &format!("{mode:o} {words:?}"));
            assert!(!running.has_ended(), "{words:?} was stopped");
            running.signal(hostel_tests::Signal::KILL);
            running.finish(SOON);
        }
    }
    bed.assert_clean();
}

#[test]
fn root_in_a_machine_is_no_supervisor() {
    let Some(bed) = Bed::start() else { return };
    for options in [&[][..], &["--privileged-users=host", "--net=host"]] {
        let tree = bed.copy("bbinit");
        program(tree.path(), "systemd-nspawn", 0o755);
        program(tree.path(), "lxc-start", 0o755);
        let (machine, name) = (bed.name(), bed.name());
        bed.hostel(["boot"]).arg(tree.path()).args(["-d", "--name", &machine]).args(options).run().exits(0);
        let up = || bed.hostel(["exec", &machine, "test", "-e", "/run/hostel-test-up"]).run().code == Some(0);
        assert!(eventually(SOON, up), "{}", bed.hostel(["logs", &machine]).run().describe());
        let shown = ["/systemd-nspawn", "-M", &name, "-D", "/x"];
        let socket = format!("HOSTEL_PROBE_POSE=/var/lib/lxc/{name}/command");
        for (variable, words) in
            [("HOSTEL_PROBE_POSE=", &shown[..]), ("HOSTEL_PROBE_POSE=", &["/lxc-start", "-n", &name]), (&socket, &["/lxc-start"])]
        {
            let running = posed(bed.hostel(["exec", &machine, "-T", "-E", variable, "--"]).args(words));
            is_nobody(&bed, &name, &format!("{options:?} {words:?}"));
            running.signal(hostel_tests::Signal::TERM);
            running.finish(SOON);
            // A command that was entered outlives the one that entered it.
            let kill = "for p in /proc/[0-9]*; do grep -q HOSTEL_PROBE_POSE $p/environ 2>/dev/null && kill -9 ${p#/proc/}; done; true";
            bed.hostel(["exec", &machine, "sh", "-c", kill]).run();
        }
        bed.hostel(["stop", &machine]).run().exits(0);
    }
    bed.assert_clean();
}
