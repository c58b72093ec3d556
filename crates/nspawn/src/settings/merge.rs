//! Who wins, a command line or the settings files: decided group by group, never value by value (spec/nspawn.md 1.2).

use crate::doc::{Doc, Entry};
use crate::options::OptionId as Id;

use super::Mode;
use super::read::{Setting, Settings};

/// Options that are taken from one side, all of them.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// What they decide, for people.
    pub about: &'static str,
    /// The options. Every option that is in no group is one by itself; of `--rlimit=`, every limit.
    pub options: &'static [Id],
}

const fn group(about: &'static str, options: &'static [Id]) -> Group {
    Group { about, options }
}

/// Every group of more than one option.
pub const GROUPS: [Group; 7] = [
    // with the command and its arguments, `Parameters=`
    group("what runs", &[Id::Boot, Id::AsPid2]),
    group("the user it runs as", &[Id::Uid, Id::UserScope]),
    group("capabilities", &[Id::Capability, Id::DropCapability, Id::AmbientCapability]),
    group("the user namespace", &[Id::PrivateUsers, Id::PrivateUsersOwnership, Id::PrivateUsersChown, Id::PrivateUsersDelegate, Id::PickUsers]),
    group(
        "the network",
        &[
            Id::PrivateNetwork,
            Id::NetworkInterface,
            Id::NetworkMacvlan,
            Id::NetworkIpvlan,
            Id::NetworkVeth,
            Id::NetworkVethExtra,
            Id::NetworkBridge,
            Id::NetworkZone,
            Id::NetworkNamespacePath,
        ],
    ),
    group("mounts", &[Id::Bind, Id::BindRo, Id::Tmpfs, Id::Inaccessible, Id::Overlay, Id::OverlayRo]),
    group("the journal", &[Id::LinkJournal, Id::LinkJournalShort]),
];

/// Position in [`GROUPS`] of what runs.
const START: usize = 0;
/// Position of the capabilities, which `--settings=override` adds to the command line's instead of replacing them.
const CAPABILITIES: usize = 2;

/// What is won or lost as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Slot {
    Group(usize),
    Option(Id),
    Limit(String),
}

fn slot(entry: &Entry) -> Slot {
    if let Some(at) = GROUPS.iter().position(|group| group.options.contains(&entry.row.id)) {
        return Slot::Group(at);
    }
    match (&entry.value, entry.row.id) {
        (Some(value), Id::Rlimit) => {
            let name = value.split('=').next().unwrap_or_default().to_ascii_uppercase();
            Slot::Limit(name.trim_start_matches("RLIMIT_").to_owned())
        }
        _ => Slot::Option(entry.row.id),
    }
}

/// Makes one [`Doc`] of both. The winners' entries come last, so that they also have the last word between groups
/// (`--memory=` and `--property=MemoryMax=`).
pub(super) fn merge(mut doc: Doc, settings: Settings, mode: Mode) -> Doc {
    let argv_starts = !doc.payload.is_empty() || doc.entries.iter().any(|e| slot(e) == Slot::Group(START));
    let (entries, parameters): (Vec<Setting>, Vec<Setting>) = settings.into_iter().partition(|s| s.words.is_none());
    let mut file: Vec<Entry> = entries.into_iter().flat_map(|s| s.entries).collect();
    let mut argv = std::mem::take(&mut doc.entries);
    let file_slots: Vec<Slot> = file.iter().map(slot).collect();
    if mode == Mode::Override {
        let lost = |e: &Entry| slot(e) != Slot::Group(CAPABILITIES) && file_slots.contains(&slot(e));
        doc.overridden.extend(argv.extract_if(.., |e| lost(e)));
        // A file that only gives parameters leaves open what they are given to.
        if file_slots.contains(&Slot::Group(START)) || !parameters.is_empty() {
            take_payload(&mut doc, parameters);
        }
        doc.entries = argv;
        doc.entries.append(&mut file);
    } else {
        let argv_slots: Vec<Slot> = argv.iter().map(slot).collect();
        let lost = |e: &Entry| argv_slots.contains(&slot(e)) || argv_starts && slot(e) == Slot::Group(START);
        doc.overridden.extend(file.extract_if(.., |e| lost(e)));
        if !argv_starts {
            take_payload(&mut doc, parameters);
        }
        doc.entries = file;
        doc.entries.append(&mut argv);
    }
    doc
}

fn take_payload(doc: &mut Doc, parameters: Vec<Setting>) {
    doc.payload.clear();
    for setting in parameters {
        doc.payload.extend(setting.words.into_iter().flatten().map(Into::into));
        doc.payload_origin = Some(setting.origin);
    }
}
