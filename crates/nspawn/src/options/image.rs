//! General options and where the tree comes from (spec/nspawn.md 1.1).

use super::OptionId as Id;
use super::OptionRow;
use super::Takes::{Maybe, MaybeNext, Nothing, Value};

pub(super) const GENERAL: &[OptionRow] = &[
    OptionRow::new(Id::Help, "h", &["help"], Nothing, "Show this help").since(21),
    OptionRow::new(Id::Version, "", &["version"], Nothing, "Show the version").since(21),
    OptionRow::new(Id::NoPager, "", &["no-pager"], Nothing, "Accepted: hostel never starts a pager").since(242),
    OptionRow::new(Id::Quiet, "q", &["quiet"], Nothing, "Say nothing about the machine's start and end").since(209),
    OptionRow::new(Id::Settings, "", &["settings"], Value("BOOL"), "Read .nspawn files: yes, no, override or trusted")
        .since(226)
        .better("drop-ins, and sections of hostel's own: see Settings files"),
    OptionRow::new(Id::Cleanup, "", &["cleanup"], Nothing, "Remove what a killed machine left behind, start nothing")
        .since(257)
        .differs("of a killed machine: its cgroup, mounts, links, temporary directories and locks; refused while it runs"),
    OptionRow::new(Id::NoAskPassword, "", &["no-ask-password"], Nothing, "Ask for no passphrase: an encrypted image is refused").since(258),
    OptionRow::new(Id::System, "", &["system"], Nothing, "Act for the whole system (always so)").since(261),
    OptionRow::new(Id::UserScope, "", &["user"], MaybeNext("NAME"), "With NAME: the old spelling of --uid=")
        .since(30)
        .partly("without NAME (the user scope of 261) it is refused"),
    OptionRow::new(Id::DumpDoc, "", &["dump-doc"], Nothing, "Print the options as they were understood, start nothing"),
];

pub(super) const IMAGE: &[OptionRow] = &[
    OptionRow::new(Id::Directory, "D", &["directory"], Value("PATH"), "Root directory of the machine (default: the current directory)")
        .since(21)
        .differs("with --ephemeral, / is overlaid rather than copied; a tree that `machinectl read-only` marked runs read-only by its path, too, not only by its name"),
    OptionRow::new(Id::Template, "", &["template"], Value("PATH"), "Copy a missing root directory from PATH first").since(219),
    OptionRow::new(Id::Ephemeral, "x", &["ephemeral"], Nothing, "Run on a throw-away copy of the tree")
        .since(219)
        .trusted_key("[Exec] Ephemeral=")
        .better("where files cannot share blocks (ext4), a layer over the tree instead of a copy of it, and no machine writes to the tree meanwhile; if one does already, it is copied; images get no name, not even for a moment"),
    OptionRow::new(Id::Image, "i", &["image"], Value("PATH"), "Disk image or block device with the root file system")
        .since(211)
        .better("needs neither udev nor the kernel's partition tables, works in any network namespace; ext4 never panics the host"),
    OptionRow::new(Id::ImagePolicy, "", &["image-policy"], Value("POLICY"), "Which partitions of an image may be used and how").since(254),
    OptionRow::new(Id::Mstack, "", &["mstack"], Value("PATH"), "Directory of layers to stack")
        .since(260)
        .never("say its layers with --overlay= and --bind=, or stack them with mount(8)"),
    OptionRow::new(Id::OciBundle, "", &["oci-bundle"], Value("PATH"), "Directory with an OCI config.json")
        .since(242)
        .differs("better: hooks run, resources need no D-Bus, seccomp with arguments, id-mapped mounts, time namespaces, versions such as 1.0.2-dev; what config.json wants and is not built is refused by its key, and so are options that change file systems, namespaces or system calls beside it; a cgroup mount shows v2; the machine's own cgroup is hostel/NAME below cgroupsPath; tmpcopyup as runc; without linux.seccomp the default filter counts")
        .partly("a joined mount namespace (its root would be that of all who are in it), intelRdt, memoryPolicy, SCMP_ACT_NOTIFY with its listener and a device rule that takes one out of many are refused by name; so is a limit for which this kernel's cgroups have no file"),
    OptionRow::new(Id::ReadOnly, "", &["read-only"], Nothing, "The tree cannot be written").since(183).key("[Files] ReadOnly="),
    OptionRow::new(Id::Volatile, "", &["volatile"], Maybe("MODE"), "Throw changes away: no, yes, state or overlay")
        .since(216)
        .key("[Files] Volatile="),
    OptionRow::new(Id::RootHash, "", &["root-hash"], Value("HASH"), "dm-verity root hash of the image")
        .since(233)
        .differs("by veritysetup; without it, or without device-mapper, the start is refused"),
    OptionRow::new(Id::RootHashSig, "", &["root-hash-sig"], Value("SIG"), "Signature of the root hash").since(246),
    OptionRow::new(Id::VerityData, "", &["verity-data"], Value("PATH"), "Detached dm-verity hash tree").since(246),
    OptionRow::new(Id::PivotRoot, "", &["pivot-root"], Value("NEW[:OLD]"), "A directory of the tree becomes /")
        .since(233)
        .key("[Exec] PivotRoot=")
        .differs("refused with --volatile=yes, which has nothing of the tree but its /usr"),
];
