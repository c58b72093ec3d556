//! Profiles: rules by name and argument, as an OCI bundle brings them, become one program.
//!
//! Programs of architectures that the profile does not name are killed at their first call, as with libseccomp.

use hostel_spec::Arrange as _;
use hostel_spec::{ArgumentOperator, ArgumentTest, FilterAction, ProfileRule, SyscallProfile};
use hostel_sys::seccomp::MAX_INSNS;

use super::emit::{self, Compare, Decision, RET_ALLOW, RET_ERRNO, RET_KILL, Section, Wide, WideTest};
use super::policy::RunList;
use super::ready::{ARCHES, CALLS};
use super::table::{Arch, NONE, X32_BIT, find};
use super::{FilterError, Insn, Verdict};

const RET_KILL_THREAD: u32 = 0;
const RET_TRAP: u32 = 0x0003_0000;
const RET_TRACE: u32 = 0x7ff0_0000;
const RET_LOG: u32 = 0x7ffc_0000;

// Fixed places among the decisions.
const DEFAULT: u8 = 0;
const KILL: u8 = 1;
const SKIPPED: u8 = 2;

fn returned(action: FilterAction) -> u32 {
    match action {
        FilterAction::Allow => RET_ALLOW,
        FilterAction::Log => RET_LOG,
        FilterAction::Errno(number) => RET_ERRNO | u32::from(number),
        FilterAction::Trace(number) => RET_TRACE | u32::from(number),
        FilterAction::Trap => RET_TRAP,
        FilterAction::KillThread => RET_KILL_THREAD,
        FilterAction::KillProcess => RET_KILL,
    }
}

/// Whether programs of `arch` may make calls at all.
fn is_named(profile: &SyscallProfile, arch: Arch) -> bool {
    let names: &[&str] = match arch {
        Arch::X86_64 => &["SCMP_ARCH_X86_64"],
        Arch::I386 => &["SCMP_ARCH_X86"],
        Arch::X32 => &["SCMP_ARCH_X32"],
        Arch::Aarch64 => &["SCMP_ARCH_AARCH64"],
        Arch::Arm => &["SCMP_ARCH_ARM"],
    };
    // The native one is always in a filter of libseccomp.
    ARCHES.first() == Some(&arch) || profile.architectures.iter().any(|a| names.contains(&a.as_str()))
}

fn test(given: &ArgumentTest) -> WideTest {
    let (compare, negated) = match given.operator {
        ArgumentOperator::Equal | ArgumentOperator::MaskedEqual => (Compare::Equal, false),
        ArgumentOperator::NotEqual => (Compare::Equal, true),
        ArgumentOperator::Greater => (Compare::Greater, false),
        ArgumentOperator::GreaterOrEqual => (Compare::GreaterOrEqual, false),
        ArgumentOperator::Less => (Compare::GreaterOrEqual, true),
        ArgumentOperator::LessOrEqual => (Compare::Greater, true),
    };
    let mask = if given.operator == ArgumentOperator::MaskedEqual { given.mask } else { u64::MAX };
    WideTest { arg: given.index, mask, compare, value: given.value & mask, negated }
}

/// What happens to one call: rules with tests first, in order, then the first without.
fn decide<'a>(profile: &SyscallProfile, rules: impl Iterator<Item = &'a ProfileRule>) -> Decision {
    let mut wide = Wide { rules: Vec::new(), otherwise: returned(profile.default) };
    let mut plain = None;
    for rule in rules {
        if rule.tests.is_empty() {
            plain.get_or_insert(returned(rule.action));
        } else {
            wide.rules.push((rule.tests.iter().map(test).collect(), returned(rule.action)));
        }
    }
    wide.otherwise = plain.unwrap_or(wide.otherwise);
    if wide.rules.iter().all(|(_, then)| *then == wide.otherwise) { Decision::Return(wide.otherwise) } else { Decision::Wide(wide) }
}

/// Rules by call, of the calls that any rule names.
fn by_call(profile: &SyscallProfile) -> Vec<(usize, Vec<&ProfileRule>)> {
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for (at, rule) in profile.rules.iter().enumerate() {
        pairs.extend(rule.names.iter().filter_map(|name| Some((find(&CALLS, name)?, at))));
    }
    pairs.arrange();
    pairs.dedup();
    pairs.chunk_by(|a, b| a.0 == b.0).map(|chunk| (chunk[0].0, chunk.iter().map(|(_, at)| &profile.rules[*at]).collect())).collect()
}

/// What the profile does with a call of our tables.
pub(super) fn verdict(profile: &SyscallProfile, call: usize) -> Result<Verdict, FilterError> {
    let rules = by_call(profile).into_iter().find(|(c, _)| *c == call).map(|(_, rules)| rules).unwrap_or_default();
    Ok(match decide(profile, rules.into_iter()) {
        Decision::Return(RET_ALLOW | RET_LOG) => Verdict::Allow,
        Decision::Return(value) if value & 0xffff_0000 == RET_ERRNO => Verdict::Fail(value as u16),
        Decision::Return(_) => Verdict::Kill,
        _ => Verdict::Checked("by its arguments"),
    })
}

/// The program.
pub(super) fn program(profile: &SyscallProfile) -> Result<Vec<Insn>, FilterError> {
    if ARCHES.is_empty() {
        return Err(FilterError::Architecture);
    }
    let mut decisions = [returned(profile.default), RET_KILL, RET_ALLOW].map(Decision::Return).to_vec();
    let mut of_call: Vec<(usize, u8)> = Vec::new();
    for (call, rules) in by_call(profile) {
        let decision = decide(profile, rules.into_iter());
        let at = match decisions.iter().position(|d| *d == decision) {
            Some(at) => at,
            None => {
                decisions.push(decision);
                decisions.len() - 1
            }
        };
        of_call.push((call, u8::try_from(at).map_err(|_| FilterError::TooLong("the profile has more than 250 different answers"))?));
    }
    let code = emit::program(&sections(profile, &of_call), &decisions, RET_KILL);
    if code.len() > MAX_INSNS {
        return Err(FilterError::TooLong("the profile needs more than the 4096 instructions that the kernel takes"));
    }
    Ok(code)
}

fn sections(profile: &SyscallProfile, of_call: &[(usize, u8)]) -> Vec<Section> {
    let x32 = ARCHES.iter().position(|a| *a == Arch::X32).filter(|_| is_named(profile, Arch::X32));
    let mut sections = Vec::with_capacity(ARCHES.len());
    for (column, arch) in ARCHES.iter().enumerate() {
        if *arch == Arch::X32 || !is_named(profile, *arch) {
            continue;
        }
        let twin = x32.filter(|_| *arch == Arch::X86_64);
        let columns: Vec<usize> = std::iter::once(column).chain(twin).collect();
        let mut numbers: Vec<(u32, u8)> = Vec::new();
        for (call, decision) in of_call {
            numbers.extend(columns.iter().map(|c| CALLS[*call].numbers[*c]).filter(|n| *n != NONE).map(|n| (n, *decision)));
        }
        numbers.arrange();
        sections.push(Section { audit: arch.audit(), mask: u32::MAX, runs: runs(&numbers, *arch == Arch::X86_64 && twin.is_none()) });
    }
    sections
}

/// Decisions by ascending number; what is between them has the default.
fn runs(numbers: &[(u32, u8)], kill_x32: bool) -> Vec<super::emit::Run> {
    let mut runs = RunList::default();
    for (number, decision) in numbers {
        if *number != runs.next {
            runs.push(runs.next, DEFAULT);
        }
        runs.push(*number, *decision);
        runs.next = number + 1;
    }
    runs.push(runs.next, DEFAULT);
    if kill_x32 {
        runs.push(X32_BIT, KILL);
    }
    // -1 is no call: a tracer sets it to skip one.
    runs.push(u32::MAX, SKIPPED);
    runs.runs
}
