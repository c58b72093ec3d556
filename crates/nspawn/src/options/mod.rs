//! One row per option: parser, help, completions and COMPATIBILITY.md all read these rows and nothing else.

mod execution;
mod image;
mod integration;
mod network;
mod order;
mod security;

pub(crate) use order::original_rank;

/// Names an option independently of its spelling; one arm of the compiler each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the rows document them
pub enum OptionId {
    Help,
    Version,
    NoPager,
    Quiet,
    Settings,
    Cleanup,
    NoAskPassword,
    System,
    UserScope,
    DumpDoc,
    Directory,
    Template,
    Ephemeral,
    Image,
    ImagePolicy,
    Mstack,
    OciBundle,
    ReadOnly,
    Volatile,
    RootHash,
    RootHashSig,
    VerityData,
    PivotRoot,
    AsPid2,
    Boot,
    Chdir,
    Setenv,
    Uid,
    KillSignal,
    NotifyReady,
    SuppressSync,
    Machine,
    Hostname,
    Uuid,
    Slice,
    Property,
    Register,
    KeepUnit,
    PrivateUsers,
    PrivateUsersOwnership,
    PrivateUsersChown,
    PrivateUsersDelegate,
    PickUsers,
    PrivateNetwork,
    NetworkInterface,
    NetworkMacvlan,
    NetworkIpvlan,
    NetworkVeth,
    NetworkVethExtra,
    NetworkBridge,
    NetworkZone,
    NetworkNamespacePath,
    Port,
    NetworkConfig,
    NetworkPool,
    Capability,
    DropCapability,
    AmbientCapability,
    NoNewPrivileges,
    SystemCallFilter,
    RestrictAddressFamilies,
    SelinuxContext,
    SelinuxApifsContext,
    Rlimit,
    OomScoreAdjust,
    CpuAffinity,
    Personality,
    Memory,
    Cpus,
    Pids,
    ResolvConf,
    Timezone,
    LinkJournal,
    LinkJournalShort,
    ForwardJournal,
    ForwardJournalMaxUse,
    ForwardJournalKeepFree,
    ForwardJournalMaxFileSize,
    ForwardJournalMaxFiles,
    Bind,
    BindRo,
    Inaccessible,
    Tmpfs,
    Overlay,
    OverlayRo,
    BindUser,
    BindUserShell,
    BindUserGroup,
    Console,
    Pipe,
    Background,
    SetCredential,
    LoadCredential,
    ShareSystem,
}

/// Whether an option takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// None; `--opt=x` is refused.
    Nothing,
    /// `--opt=VALUE`, `--opt VALUE`, `-oVALUE`, `-o VALUE`; the text is the value's name in help.
    Value(&'static str),
    /// `--opt` or `--opt=VALUE`, never the next argument.
    Maybe(&'static str),
    /// As `Maybe`, but the next argument is the value unless it begins with a dash (`--user`, whose meaning changed in systemd 261).
    MaybeNext(&'static str),
}

/// Whether hostel does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Yes.
    Built,
    /// Some values; the text says which are refused.
    Partly(&'static str),
    /// Refused by name for good; the text says why, or what to do instead.
    Never(&'static str),
}

/// How it compares with systemd-nspawn 262.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compat {
    /// The same as far as tested.
    Same,
    /// Does what the original does, and more.
    Better(&'static str),
    /// Does something else on purpose.
    Differs(&'static str),
    /// Will not be done.
    Refused(&'static str),
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct OptionRow {
    /// Which arm of the compiler it is.
    pub id: OptionId,
    /// Letter for `-x`.
    pub short: Option<u8>,
    /// Names for `--name`; the first is the one we print. Empty for an option that has only a letter.
    pub long: &'static [&'static str],
    /// Its value.
    pub takes: Takes,
    /// Help, one sentence.
    pub help: &'static str,
    /// The `.nspawn` key, `[Section] Key=`.
    pub key: Option<&'static str>,
    /// The key counts only in a trusted file.
    pub trusted_only: bool,
    /// systemd version that brought it; `None` for hostel's own.
    pub since: Option<u16>,
    /// Whether it works.
    pub status: Status,
    /// Compared with the original.
    pub compat: Compat,
    /// Not shown in help.
    pub hidden: bool,
}

impl OptionRow {
    const fn new(id: OptionId, short: &'static str, long: &'static [&'static str], takes: Takes, help: &'static str) -> Self {
        let short = if short.is_empty() { None } else { Some(short.as_bytes()[0]) };
        Self { id, short, long, takes, help, key: None, trusted_only: false, since: None, status: Status::Built, compat: Compat::Same, hidden: false }
    }
    const fn since(mut self, version: u16) -> Self {
        self.since = Some(version);
        self
    }
    const fn key(mut self, key: &'static str) -> Self {
        self.key = Some(key);
        self
    }
    const fn trusted_key(mut self, key: &'static str) -> Self {
        self.key = Some(key);
        self.trusted_only = true;
        self
    }
    const fn partly(mut self, refused: &'static str) -> Self {
        self.status = Status::Partly(refused);
        self
    }
    const fn never(mut self, reason: &'static str) -> Self {
        self.status = Status::Never(reason);
        self.compat = Compat::Refused(reason);
        self
    }
    const fn better(mut self, how: &'static str) -> Self {
        self.compat = Compat::Better(how);
        self
    }
    const fn differs(mut self, how: &'static str) -> Self {
        self.compat = Compat::Differs(how);
        self
    }
    const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// The option as we name it in messages: `--bind=`, `--boot`, `-U`.
    pub fn name(&self) -> String {
        match (self.long.first(), self.takes) {
            (Some(long), Takes::Value(_)) => format!("--{long}="),
            (Some(long), _) => format!("--{long}"),
            (None, _) => format!("-{}", self.short.unwrap_or(b'?') as char),
        }
    }
    /// hostel's own option: the original has none of this name, so it takes no part in abbreviations.
    pub fn is_extension(&self) -> bool {
        self.since.is_none()
    }
}

/// Options shown together.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// Heading.
    pub title: &'static str,
    /// Its options.
    pub rows: &'static [OptionRow],
}

/// Every option of systemd-nspawn 262 and ours, in help order.
pub const GROUPS: [Group; 13] = [
    Group { title: "General", rows: image::GENERAL },
    Group { title: "Image", rows: image::IMAGE },
    Group { title: "Execution", rows: execution::EXECUTION },
    Group { title: "Identity", rows: execution::IDENTITY },
    Group { title: "Unit", rows: execution::UNIT },
    Group { title: "User namespace", rows: execution::USERS },
    Group { title: "Network", rows: network::NETWORK },
    Group { title: "Security", rows: security::SECURITY },
    Group { title: "Resources", rows: security::RESOURCES },
    Group { title: "Integration", rows: integration::INTEGRATION },
    Group { title: "Mounts", rows: integration::MOUNTS },
    Group { title: "Input and output", rows: integration::CONSOLE },
    Group { title: "Credentials", rows: integration::CREDENTIALS },
];

/// Every row, in help order.
pub fn rows() -> impl Iterator<Item = &'static OptionRow> {
    GROUPS.iter().flat_map(|group| group.rows)
}

/// The row with this long name.
pub fn by_long(name: &[u8]) -> Option<&'static OptionRow> {
    rows().find(|row| row.long.iter().any(|long| long.as_bytes() == name))
}

/// The row with this letter.
pub fn by_short(letter: u8) -> Option<&'static OptionRow> {
    rows().find(|row| row.short == Some(letter))
}

/// The row of this option.
pub fn by_id(id: OptionId) -> Option<&'static OptionRow> {
    rows().find(|row| row.id == id)
}
