//! The emitter: whatever the decisions, the program returns what they say.

use proptest::prelude::*;

use super::super::emit::{Check, Decision, Rule, Run, Section, Test, program};
use super::super::interpreter::{Data, run};
use super::*;

/// What a decision says, without a program.
fn decide(decision: &Decision, args: &[u64; 6]) -> u32 {
    match decision {
        Decision::Wide(_) => panic!("no policy of ours compares whole arguments"),
        Decision::Return(value) => *value,
        Decision::Check(check) => check
            .rules
            .iter()
            .find(|rule| rule.tests.iter().all(|t| t.values.contains(&(args[usize::from(t.arg)] as u32 & t.mask))))
            .map_or(check.otherwise, |rule| rule.then),
    }
}

fn decision_of(section: &Section, nr: u32) -> u8 {
    let nr = nr & section.mask;
    section.runs.iter().rev().find(|run| run.first <= nr).unwrap().decision
}

/// Argument values near those that checks compare with.
fn an_argument() -> impl Strategy<Value = u64> {
    let low = prop_oneof![0u64..20, Just(0x5412), Just(0x541c), Just(0x4_0008), Just(0xffff_ffff), any::<u32>().prop_map(u64::from)];
    (low, prop_oneof![Just(0u64), any::<u32>().prop_map(u64::from)]).prop_map(|(low, high)| low | high << 32)
}

fn args() -> impl Strategy<Value = [u64; 6]> {
    prop::array::uniform6(an_argument())
}

fn a_decision() -> impl Strategy<Value = Decision> {
    let value = || (0u32..6).prop_map(|n| RET_ERRNO | n);
    let test = (0u8..6, prop_oneof![Just(u32::MAX), any::<u32>(), Just(0xf)], prop::collection::vec(0u32..20, 0..6));
    let tests = prop::collection::vec(test.prop_map(|(arg, mask, values)| Test { arg, mask, values }), 0..3);
    let rule = (tests, value()).prop_map(|(tests, then)| Rule { tests, then });
    let check = (prop::collection::vec(rule, 0..4), value()).prop_map(|(rules, otherwise)| Check { what: "", rules, otherwise, unseen: otherwise });
    prop_oneof![3 => value().prop_map(Decision::Return), 1 => check.prop_map(Decision::Check)]
}

fn a_section(audit: u32) -> impl Strategy<Value = Section> {
    let step = prop_oneof![8 => 1u32..3, 1 => 1u32..100, 1 => Just(0x1000_0000)];
    let mask = prop_oneof![Just(u32::MAX), Just(!0x4000_0000)];
    (prop::collection::vec((step, 0u8..12), 0..400), mask).prop_map(move |(steps, mask)| {
        let mut runs = vec![Run { first: 0, decision: 0 }];
        let mut first = 0u32;
        for (step, decision) in steps {
            match first.checked_add(step) {
                Some(next) => first = next,
                None => break,
            }
            runs.push(Run { first, decision });
        }
        Section { audit, mask, runs }
    })
}

/// Numbers where runs begin and end, or any.
fn numbers(section: &Section, any: &[u32]) -> Vec<u32> {
    let edges = section.runs.iter().flat_map(|r| [r.first.saturating_sub(1), r.first, r.first.saturating_add(1)]);
    edges.chain(any.iter().copied()).chain([u32::MAX]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_table(
        decisions in prop::collection::vec(a_decision(), 12),
        sections in (a_section(7), a_section(8)),
        any_nr in prop::collection::vec(any::<u32>(), 8),
        args in args(),
    ) {
        let sections = [sections.0, sections.1];
        let program = program(&sections, &decisions, RET_KILL);
        for section in &sections {
            for nr in numbers(section, &any_nr) {
                let expected = decide(&decisions[usize::from(decision_of(section, nr))], &args);
                prop_assert_eq!(run(&program, &Data { nr, arch: section.audit, args }).0, expected, "number {}", nr);
            }
        }
        prop_assert_eq!(run(&program, &Data { nr: 0, arch: 9, args }).0, RET_KILL);
    }

    #[test]
    fn any_rules(
        machine_base in any::<bool>(),
        caps in any::<u64>(),
        rules in prop::collection::vec((any::<bool>(), prop::collection::vec(0..CALLS.len() + GROUPS.len(), 0..5)), 0..4),
        args in args(),
    ) {
        let name = |i: usize| CALLS.get(i).map_or_else(|| GROUPS[i - CALLS.len()].0, |call| call.name).to_owned();
        let rules: Vec<SyscallRule> = rules
            .into_iter()
            .map(|(allow, names)| SyscallRule { allow, names: names.into_iter().map(name).filter(|n| !n.starts_with('+')).collect() })
            .collect();
        let filter = if machine_base { SyscallFilter::Machine(rules.clone()) } else { SyscallFilter::Nspawn(rules.clone()) };
        let program = made(&filter, CapSet(caps));
        prop_assert!(program.len() < 1500, "{} instructions", program.len());
        let base = if machine_base { Base::Machine } else { Base::Nspawn };
        let policy = Policy::new(&CALLS, base, caps, &resolve(&rules).unwrap());
        for (column, arch) in ARCHES.iter().enumerate() {
            for (i, call) in on(&CALLS, column) {
                let data = Data { nr: call.numbers[column], arch: arch.audit(), args };
                let value = run(&program, &data).0;
                prop_assert_eq!(value, decide(&policy.decisions[usize::from(policy.of(i, *arch))], &args), "{} on {}", call.name, arch.name());
                let denied = rules.iter().any(|r| !r.allow && r.names.iter().any(|n| n == call.name));
                prop_assert!(!denied || value != RET_ALLOW, "{} is denied", call.name);
            }
        }
    }
}

/// The kernel runs a new program once per number of each table; so its mean length is what loading costs.
#[test]
fn programs_are_short_on_the_way() {
    for (base, caps, program) in READY {
        for arch in ARCHES.iter().filter(|a| **a != Arch::X32) {
            let steps: Vec<usize> = (0..473).map(|nr| run(program, &Data { nr, arch: arch.audit(), args: [0; 6] }).1).collect();
            let mean = steps.iter().sum::<usize>() as f64 / steps.len() as f64;
            let most = steps.iter().max().unwrap();
            println!("{base:?} {caps:#x} {}: {} instructions, {mean:.1} run per call, {most} at most", arch.name(), program.len());
            assert!(mean < 13.0 && *most < 24, "{base:?} {}: {mean:.1}, {most}", arch.name());
        }
    }
}
