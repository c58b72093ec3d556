//! What partitions are for: the type ids of the Discoverable Partitions Specification (UAPI.2).

use hostel_spec::Designator;

use super::guid::Guid;

/// Linux data of no special use.
pub const LINUX_GENERIC: Guid = Guid::of("0fc63daf-8483-4772-8e79-3d69d8477de4");

/// The ids of one architecture: root, usr, their hash trees, and the signatures of those.
struct Row {
    arch: &'static str,
    ids: [Guid; 6],
}

const DESIGNATORS: [Designator; 6] =
    [Designator::Root, Designator::Usr, Designator::RootVerity, Designator::UsrVerity, Designator::RootVeritySig, Designator::UsrVeritySig];

const fn row(arch: &'static str, ids: [&str; 6]) -> Row {
    Row { arch, ids: [Guid::of(ids[0]), Guid::of(ids[1]), Guid::of(ids[2]), Guid::of(ids[3]), Guid::of(ids[4]), Guid::of(ids[5])] }
}

const ARCHITECTURES: [Row; 8] = [
    row(
        "x86_64",
        [
            "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
            "8484680c-9521-48c6-9c11-b0720656f69e",
            "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5",
            "77ff5f63-e7b6-4633-acf4-1565b864c0e6",
            "41092b05-9fc8-4523-994f-2def0408b176",
            "e7bb33fb-06cf-4e81-8273-e543b413e2e2",
        ],
    ),
    row(
        "x86",
        [
            "44479540-f297-41b2-9af7-d131d5f0458a",
            "75250d76-8cc6-458e-bd66-bd47cc81a812",
            "d13c5d3b-b5d1-422a-b29f-9454fdc89d76",
            "8f461b0d-14ee-4e81-9aa9-049b6fb97abd",
            "5996fc05-109c-48de-808b-23fa0830b676",
            "974a71c0-de41-43c3-be5d-5c5ccd1ad2c0",
        ],
    ),
    row(
        "aarch64",
        [
            "b921b045-1df0-41c3-af44-4c6f280d3fae",
            "b0e01050-ee5f-4390-949a-9101b17104e9",
            "df3300ce-d69f-4c92-978c-9bfb0f38d820",
            "6e11a4e7-fbca-4ded-b9e9-e1a512bb664e",
            "6db69de6-29f4-4758-a7a5-962190f00ce3",
            "c23ce4ff-44bd-4b00-b2d4-b41b3419e02a",
        ],
    ),
    row(
        "arm",
        [
            "69dad710-2ce4-4e3c-b16c-21a1d49abed3",
            "7d0359a3-02b3-4f0a-865c-654403e70625",
            "7386cdf2-203c-47a9-a498-f2ecce45a2d6",
            "c215d751-7bcd-4649-be90-6627490a4c05",
            "42b0455f-eb11-491d-98d3-56145ba9d037",
            "d7ff812f-37d1-4902-a810-d76ba57b975a",
        ],
    ),
    row(
        "riscv64",
        [
            "72ec70a6-cf74-40e6-bd49-4bda08e8f224",
            "beaec34b-8442-439b-a40b-984381ed097d",
            "b6ed5582-440b-4209-b8da-5ff7c419ea3d",
            "8f1056be-9b05-47c4-81d6-be53128e5b54",
            "efe0f087-ea8d-4469-821a-4c2a96a8386a",
            "d2f9000a-7a18-453f-b5cd-4d32f77a7b32",
        ],
    ),
    row(
        "loongarch64",
        [
            "77055800-792c-4f94-b39a-98c91b762bb6",
            "e611c702-575c-4cbe-9a46-434fa0bf7e3f",
            "f3393b22-e9af-4613-a948-9d3bfbd0c535",
            "f46b2c26-59ae-48f0-9106-c50ed47f673d",
            "5afb67eb-ecc8-4f85-ae8e-ac1e7c50e7d0",
            "b024f315-d330-444c-8461-44bbde524e99",
        ],
    ),
    row(
        "powerpc64le",
        [
            "c31c45e6-3f39-412e-80fb-4809c4980599",
            "15bb03af-77e7-4d4a-b12b-c0d084f7491c",
            "906bd944-4589-4aae-a4e4-dd983917446a",
            "ee2b9983-21e8-4153-86d9-b6901a54d1ce",
            "d4a236e7-e873-4c07-bf1d-bf6cf7f1c3c6",
            "c8bfbd1e-268e-4521-8bba-bf314c399557",
        ],
    ),
    row(
        "s390x",
        [
            "5eead9a9-fe09-4a1e-a1d7-520d00531306",
            "8a4f5770-50aa-4ed3-874a-99b710db6fea",
            "b325bfbe-c7be-4ab8-8357-139e652d2f6b",
            "31741cc4-1a2a-4111-a581-e00b447d2d06",
            "c80187a5-73a3-491a-901a-017c3fa953e9",
            "3f324816-667b-46ae-86ee-9b0c0c6c11b4",
        ],
    ),
];

const COMMON: [(Guid, Designator); 7] = [
    (Guid::of("933ac7e1-2eb4-4f13-b844-0e14e2aef915"), Designator::Home),
    (Guid::of("3b8f8425-20e0-4f3b-907f-1a25a76f98e8"), Designator::Srv),
    (Guid::of("4d21b016-b534-45c2-a9fb-5c16e091fd2d"), Designator::Var),
    (Guid::of("7ec6f557-3bc5-4aca-b293-16ef5df639d1"), Designator::Tmp),
    (Guid::of("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"), Designator::Esp),
    (Guid::of("bc13c2ff-59e6-4262-a352-b275fd6f7172"), Designator::Xbootldr),
    (Guid::of("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f"), Designator::Swap),
];

/// What a type id means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// What it is for.
    pub designator: Designator,
    /// The architecture it is for, if for one.
    pub arch: Option<&'static str>,
}

/// What a partition of this type is for; `None`: nothing that is found by itself.
pub fn meaning(kind: Guid) -> Option<Meaning> {
    if let Some((_, designator)) = COMMON.iter().find(|(id, _)| *id == kind) {
        return Some(Meaning { designator: *designator, arch: None });
    }
    ARCHITECTURES.iter().find_map(|row| {
        let at = row.ids.iter().position(|id| *id == kind)?;
        Some(Meaning { designator: DESIGNATORS[at], arch: Some(row.arch) })
    })
}

/// The type id of a use on an architecture: for tools that make images, tests among them.
pub fn type_id(designator: Designator, arch: &str) -> Option<Guid> {
    if let Some((id, _)) = COMMON.iter().find(|(_, d)| *d == designator) {
        return Some(*id);
    }
    let at = DESIGNATORS.iter().position(|d| *d == designator)?;
    ARCHITECTURES.iter().find(|row| row.arch == arch).map(|row| row.ids[at])
}

/// This machine's architecture and the one its kernel runs besides.
pub fn architectures() -> [Option<&'static str>; 2] {
    let native = std::env::consts::ARCH;
    let name = if cfg!(all(target_arch = "powerpc64", target_endian = "little")) { "powerpc64le" } else { native };
    let second = match native {
        "x86_64" => Some("x86"),
        "aarch64" => Some("arm"),
        _ => None,
    };
    [Some(name), second]
}
