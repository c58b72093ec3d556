//! What of the host comes in, mounts, console, credentials (spec/nspawn.md 1.1f).

use super::OptionId as Id;
use super::OptionRow;
use super::Takes::{Nothing, Value};

const JOURNAL: &str = "it needs a daemon of systemd's on the host, systemd-journal-remote, and the tree's journald from 256 on; --link-journal=host keeps the journal on the host, `hostel exec NAME journalctl -f` follows it";

pub(super) const INTEGRATION: &[OptionRow] = &[
    OptionRow::new(Id::ResolvConf, "", &["resolv-conf"], Value("MODE"), "What /etc/resolv.conf becomes").since(239).key("[Exec] ResolvConf="),
    OptionRow::new(Id::Timezone, "", &["timezone"], Value("MODE"), "What /etc/localtime becomes").since(239).key("[Exec] Timezone="),
    OptionRow::new(Id::LinkJournal, "", &["link-journal"], Value("MODE"), "Share the journal: no, auto, try-guest, try-host, guest, host")
        .since(187)
        .trusted_key("[Exec] LinkJournal=")
        .differs(
            "guest is refused for disk images, whose journal has no path on the host; with --ephemeral the try- modes do nothing instead of failing; auto and the try- modes leave a link to another tree's journal, which the original removes; the host's directory is nosuid, nodev",
        ),
    OptionRow::new(Id::LinkJournalShort, "j", &[], Nothing, "Same as --link-journal=try-guest").since(187),
    OptionRow::new(Id::ForwardJournal, "", &["forward-journal"], Value("PATH"), "Receive the machine's journal into a file or directory")
        .since(261)
        .never(JOURNAL),
    OptionRow::new(Id::ForwardJournalMaxUse, "", &["forward-journal-max-use"], Value("BYTES"), "Size of all its files").since(261).never(JOURNAL),
    OptionRow::new(Id::ForwardJournalKeepFree, "", &["forward-journal-keep-free"], Value("BYTES"), "Space it leaves free").since(261).never(JOURNAL),
    OptionRow::new(Id::ForwardJournalMaxFileSize, "", &["forward-journal-max-file-size"], Value("BYTES"), "Size of one file")
        .since(261)
        .never(JOURNAL),
    OptionRow::new(Id::ForwardJournalMaxFiles, "", &["forward-journal-max-files"], Value("N"), "Number of its files").since(261).never(JOURNAL),
];

pub(super) const MOUNTS: &[OptionRow] = &[
    OptionRow::new(Id::Bind, "", &["bind"], Value("SRC[:DST[:OPTIONS]]"), "A file or directory of the host appears in the machine")
        .since(198)
        .trusted_key("[Files] Bind=")
        .differs("a destination with `..` and an unknown option are refused before anything starts"),
    OptionRow::new(Id::BindRo, "", &["bind-ro"], Value("SRC[:DST[:OPTIONS]]"), "The same, read-only")
        .since(198)
        .trusted_key("[Files] BindReadOnly=")
        .differs("as --bind="),
    OptionRow::new(Id::Inaccessible, "", &["inaccessible"], Value("PATH"), "Nobody inside can open this path")
        .since(242)
        .trusted_key("[Files] Inaccessible=")
        .better("works on hosts whose PID 1 is not systemd"),
    OptionRow::new(Id::Tmpfs, "", &["tmpfs"], Value("PATH[:OPTIONS]"), "An empty tmpfs")
        .since(214)
        .trusted_key("[Files] TemporaryFileSystem=")
        .differs("a path with `..` is refused; noatime and relatime have an effect"),
    OptionRow::new(Id::Overlay, "", &["overlay"], Value("LOWER[:…]:UPPER:DST"), "Directories combined, changes go to UPPER")
        .since(220)
        .trusted_key("[Files] Overlay=")
        .differs("a destination with `..` is refused"),
    OptionRow::new(Id::OverlayRo, "", &["overlay-ro"], Value("LOWER[:…]:DST"), "The same, read-only")
        .since(220)
        .trusted_key("[Files] OverlayReadOnly=")
        .differs("as --overlay="),
    OptionRow::new(Id::BindUser, "", &["bind-user"], Value("NAME"), "A user of the host exists inside")
        .since(249)
        .trusted_key("[Files] BindUser=")
        .differs("the host's /etc/passwd, group and shadow are read, no name service; system users are refused; the home is nosuid, nodev"),
    OptionRow::new(Id::BindUserShell, "", &["bind-user-shell"], Value("BOOL|PATH"), "Its shell").since(258).trusted_key("[Files] BindUserShell="),
    OptionRow::new(Id::BindUserGroup, "", &["bind-user-group"], Value("GROUP"), "A group of the machine it is in").since(259),
];

pub(super) const CONSOLE: &[OptionRow] = &[
    OptionRow::new(Id::Console, "", &["console"], Value("MODE"), "interactive, read-only, passive, pipe or autopipe").since(242),
    OptionRow::new(Id::Pipe, "P", &["pipe"], Nothing, "Same as --console=pipe").since(242),
    OptionRow::new(Id::Background, "", &["background"], Value("COLOR"), "Accepted: the terminal keeps its colours")
        .since(256)
        .differs("a decoration; a colour gives a notice"),
    OptionRow::new(Id::ShareSystem, "", &["share-system"], Nothing, "Share IPC, processes and host name with the host").since(209).hidden(),
];

pub(super) const CREDENTIALS: &[OptionRow] = &[
    OptionRow::new(Id::SetCredential, "", &["set-credential"], Value("ID:VALUE"), "Pass this credential; VALUE may have C escapes")
        .since(247)
        .differs("at most 1 MiB each, 16 MiB together"),
    OptionRow::new(Id::LoadCredential, "", &["load-credential"], Value("ID:PATH"), "Pass a credential from a file, socket, directory or by name")
        .since(247)
        .better("directories; a bare name is also looked for in /etc/credstore, /run/credstore and /usr/lib/credstore; sizes as --set-credential="),
];
