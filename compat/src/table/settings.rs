//! Settings files: what a file in /etc/systemd/nspawn says, what one beside the tree may say, and which side wins.

use crate::scenario::Scenario;

/// A file that both sides of every group can be told from.
const GROUPS: &str = "[Exec]\nProcessTwo=yes\nParameters=sh -c \"hostname; env | grep ^[AB]=; echo $$\"\nHostname=file\nEnvironment=A=file\n\
    DropCapability=CAP_KILL\nCapability=CAP_SYS_TIME\n[Files]\nTemporaryFileSystem=/mnt\n[Network]\nPrivate=yes\n";
const SHOW: &str =
    "hostname; env | grep ^[AB]=; grep -c ' /mnt \\| /srv ' /proc/mounts; ls /sys/class/net | wc -l; grep CapBnd /proc/self/status; echo $$";

pub(super) fn rows() -> Vec<Scenario> {
    [contents(), language(), trust(), groups()].into_iter().flatten().collect()
}

/// Command `sh -c SCRIPT` with a file in /etc/systemd/nspawn.
fn sh(name: &'static str, text: &'static str, script: &'static str) -> Scenario {
    Scenario::new(name, &["sh", "-c", script]).settings(text)
}

fn contents() -> Vec<Scenario> {
    vec![
        Scenario::view("file-exec", &[]).settings(
            "[Exec]\nEnvironment=A=1 \"B=x y\" C=\\\\x\nEnvironment='D=it'\nHostname=file.example\nWorkingDirectory=/tmp/\nDropCapability=CAP_MKNOD cap_kill\n\
             Capability=CAP_SYS_TIME\nNoNewPrivileges=yes\nLimitNOFILE=123:456\nLimitCORE=1K\nOOMScoreAdjust=77\nCPUAffinity=0\n\
             MachineID=00112233445566778899aabbccddeeff\n",
        ),
        Scenario::view("file-files", &[])
            .settings("[Files]\nReadOnly=yes\nBind={dir}/a:/mnt\nBindReadOnly={dir}/a:/srv\nTemporaryFileSystem=/opt:mode=0700\n")
            .before("mkdir $D/a"),
        Scenario::view("file-network", &[]).settings("[Network]\nPrivate=yes\n"),
        Scenario::new("file-parameters", &[]).settings("[Exec]\nBoot=no\nParameters=printf \"%%s|\" \"a b\" 'c' d\\\\e \"\"\nParameters=more\n"),
        Scenario::new("file-process-two", &[]).settings("[Exec]\nProcessTwo=yes\nParameters=sh -c 'echo $$; exit 3'\n"),
        sh("file-users", "[Exec]\nPrivateUsers=655360:1000\n", "cat /proc/self/uid_map"),
        sh("file-users-digits", "[Exec]\nPrivateUsers=0\n", "cat /proc/self/uid_map"),
        sh("file-users-one", "[Exec]\nPrivateUsers=1\n", "cat /proc/self/uid_map"),
        sh("file-filter", "[Exec]\nSystemCallFilter=~chmod fchmodat\n", "chmod 700 /tmp; echo $?"),
        sh("file-affinity-adds", "[Exec]\nCPUAffinity=0\nCPUAffinity=1\n", "grep Cpus_allowed_list /proc/self/status"),
        sh("file-volatile", "[Files]\nVolatile=overlay\n", "touch /made; ls /made"),
        sh("file-user", "[Exec]\nUser=alice\n", "id -u"),
    ]
}

fn language() -> Vec<Scenario> {
    vec![
        sh("file-continued", "# c\n[Exec]\nEnvironment=A=1 \\\n# between\n  B=2\\\n\n;c\n[Network]\n", "env | grep ^[AB]="),
        sh("file-resets", "[Exec]\nEnvironment=A=1\nEnvironment=\nEnvironment=B=2\nHostname=x\nHostname=\n", "env | grep ^[AB]=; hostname"),
        sh("file-line-ends", "\u{feff}[Exec]\r\nEnvironment=A=1\0Environment=B=2\rHostname=h", "env | grep ^[AB]=; hostname"),
        sh(
            "file-faults",
            "a=b\n[Exec]\nword\n=v\nBogus=1\nX-Own=1\nHostname=b@d\nCapability=CAP_BOGUS CAP_SYS_TIME\nEnvironment=A=1 \"B\n[Bogus]\nHostname=x\n[X-a]\nHostname=x\n",
            "env | grep ^[AB]=; hostname; grep CapBnd /proc/self/status",
        ),
        sh("file-quiet", "[X-a]\nb=c\n[Exec]\nX-b=c\n", "echo started"),
        sh("file-bad-header", "[Exec\nHostname=x\n", "echo started"),
        sh("file-open-header", "[Exec] # c\n", "echo started"),
        sh("file-empty", "", "echo started"),
        Scenario::new("file-no-text", &["echo", "started"]).before("printf '[Exec]\\nHostname=\\377\\n' >$D/$N.nspawn"),
        Scenario::new("file-pipe", &["echo", "started"]).settings("[Exec]\nHostname=x\n").before("mkfifo $D/$N.nspawn"),
    ]
}

fn trust() -> Vec<Scenario> {
    let write = "printf '[Exec]\\nEnvironment=A=1\\nCapability=CAP_SYS_TIME\\nDropCapability=CAP_KILL\\nLimitNOFILE=77\\n\
        [Files]\\nBind=/etc:/mnt\\n[Network]\\nPrivate=yes\\n' >$D/$N.nspawn";
    let show = "env | grep ^A=; grep CapBnd /proc/self/status; grep -c ' /mnt ' /proc/mounts; ulimit -n; ls /sys/class/net | wc -l";
    let beside = |name, option: &[&'static str]| {
        let words: Vec<&'static str> = option.iter().copied().chain(["sh", "-c", show]).collect();
        Scenario::new(name, &words).before(write)
    };
    vec![
        beside("file-beside", &[]),
        beside("file-beside-trusted", &["--settings=trusted"]),
        beside("file-beside-override", &["--settings=override", "--drop-capability=CAP_CHOWN"]),
        beside("file-beside-hidden", &[]).settings(""),
        Scenario::new("file-beside-forbids", &["sh", "-c", "chmod 700 /tmp; echo $?"])
            .before("printf '[Exec]\\nSystemCallFilter=~chmod fchmodat\\n' >$D/$N.nspawn"),
        Scenario::new("file-beside-link", &["hostname"]).before("printf '[Exec]\\nHostname=linked\\n' >$D/x; ln -s x $D/$N.nspawn"),
        beside("file-by-name", &["-M", "{name}"]),
    ]
}

fn groups() -> Vec<Scenario> {
    let with = |name, options: &[&'static str]| {
        let words: Vec<&'static str> = options.iter().copied().chain(["sh", "-c", SHOW]).collect();
        Scenario::new(name, &words).settings(GROUPS)
    };
    vec![
        with("file-yes", &[]),
        with("file-yes-hostname", &["--hostname=argv"]),
        with("file-yes-mounts", &["--tmpfs=/srv"]),
        with("file-yes-environment", &["--setenv=B=argv"]),
        with("file-yes-capabilities", &["--drop-capability=CAP_CHOWN"]),
        with("file-off", &["--settings=no"]),
        with("file-override", &["--settings=override", "--hostname=argv", "--setenv=B=argv"]),
        Scenario::new("file-override-mounts", &["--settings=override", "--tmpfs=/srv", "sh", "-c", SHOW])
            .settings("[Files]\nTemporaryFileSystem=/mnt\n"),
        Scenario::new(
            "file-override-capabilities",
            &["--settings=override", "--drop-capability=CAP_CHOWN", "--capability=CAP_IPC_LOCK", "sh", "-c", SHOW],
        )
        .settings("[Exec]\nDropCapability=CAP_KILL\nCapability=CAP_SYS_TIME\n"),
        Scenario::new("file-override-empty", &["--settings=override", "--private-network", "sh", "-c", SHOW]).settings(""),
        Scenario::new("file-override-network", &["--settings=override", "--private-network", "sh", "-c", SHOW]).settings("[Network]\nPrivate=no\n"),
    ]
}
