//! Decisions per system call number in, one classic BPF program out. Shared with `build.rs`.
//!
//! ```text
//! load arch ── native? ── load number ── balanced tree over ranges of numbers ── return, or compare arguments
//!          └── second? ── the same for its table
//!          └── anything else: `other`
//! ```
//! What loading costs, measured on Linux 6.18: 0.17 us per instruction (translation to machine code), and 2 ns per
//! instruction run, because the kernel runs a new filter once for every number of both tables to learn which calls it
//! need not filter at all. So few instructions come first, a shallow tree second; afterwards only calls that are checked
//! or refused pay anything. Code is laid out from its last instruction to its first: every jump's target then exists
//! when the jump is written.

use super::Insn;

/// seccomp(2): do the call.
pub(crate) const RET_ALLOW: u32 = 0x7fff_0000;
/// seccomp(2): fail with the errno in the low 16 bits (0: succeed without doing anything).
pub(crate) const RET_ERRNO: u32 = 0x0005_0000;
/// seccomp(2): SIGSYS for the whole process.
pub(crate) const RET_KILL: u32 = 0x8000_0000;

/// The low 32 bits of one argument against values. The kernel itself looks at no more of the arguments we test, and a
/// caller may put anything into the high half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Test {
    /// Argument, from 0.
    pub(crate) arg: u8,
    /// Bits that count.
    pub(crate) mask: u32,
    /// Holds if the masked argument is one of these.
    pub(crate) values: Vec<u32>,
}

/// All tests hold: `then`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Tests.
    pub(crate) tests: Vec<Test>,
    /// Value returned to the kernel.
    pub(crate) then: u32,
}

/// Decision on a call by its arguments: the first rule that holds, else `otherwise`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    /// What it does, for people.
    pub(crate) what: &'static str,
    /// Rules.
    pub(crate) rules: Vec<Rule>,
    /// Value returned if no rule holds.
    pub(crate) otherwise: u32,
    /// Value returned where the same call comes with arguments in memory (socketcall(2)), which a filter cannot read.
    pub(crate) unseen: u32,
}

/// What a filter does with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Value returned to the kernel.
    Return(u32),
    /// It depends.
    Check(Check),
    /// It depends on whole arguments.
    Wide(Wide),
}

/// Decision on a call by all 64 bits of its arguments: the first rule whose tests all hold, else `otherwise`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wide {
    /// Tests, and the value returned if they hold.
    pub(crate) rules: Vec<(Vec<WideTest>, u32)>,
    /// Value returned if no rule holds.
    pub(crate) otherwise: u32,
}

/// A test of an argument, as an unsigned number of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WideTest {
    /// Argument, from 0.
    pub(crate) arg: u8,
    /// Bits that count.
    pub(crate) mask: u64,
    /// How it is compared; the others are these turned around.
    pub(crate) compare: Compare,
    /// With what.
    pub(crate) value: u64,
    /// Holds if the comparison does not.
    pub(crate) negated: bool,
}

/// Comparisons the emitter knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compare {
    /// ==
    Equal,
    /// >
    Greater,
    /// >=
    GreaterOrEqual,
}

/// From `first` on (until the next run), the decision of this index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// First number.
    pub(crate) first: u32,
    /// Index into the decisions.
    pub(crate) decision: u8,
}

/// One audit architecture: its runs start at number 0 and cover every number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    /// `AUDIT_ARCH_…`.
    pub(crate) audit: u32,
    /// Bits of the number that count.
    pub(crate) mask: u32,
    /// Runs, ascending.
    pub(crate) runs: Vec<Run>,
}

const LD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JA: u16 = 0x05; // BPF_JMP | BPF_JA
const JEQ: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JGT: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const JGE: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RET: u16 = 0x06; // BPF_RET | BPF_K

// struct seccomp_data (linux/seccomp.h).
const OFFSET_NR: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGS: u32 = 16;

/// Numbers above this are not in any table: the kernel never tries them when it learns the filter.
const LAST_TRIED: u32 = 511;

/// Writes the program.
pub(crate) fn program(sections: &[Section], decisions: &[Decision], other: u32) -> Vec<Insn> {
    let mut code = Backwards::default();
    let mut next_arch = code.ret(other);
    for section in sections.iter().rev() {
        let mut nr = Tree::new(section, decisions).emit(&mut code);
        if section.mask != u32::MAX {
            nr = code.before(nr, Insn { code: AND, jt: 0, jf: 0, k: section.mask });
        }
        nr = code.before(nr, Insn { code: LD, jt: 0, jf: 0, k: OFFSET_NR });
        next_arch = code.branch(JEQ, section.audit, nr, next_arch);
    }
    code.before(next_arch, Insn { code: LD, jt: 0, jf: 0, k: OFFSET_ARCH });
    code.finish()
}

/// A position in the program, counted from its end; stays valid while code is put in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Label(usize);

/// A program under construction, last instruction first.
#[derive(Default)]
struct Backwards {
    code: Vec<Insn>,
    /// Checks already written, by the index of their decision: all tables share them.
    checks: Vec<(u8, Label)>,
}

impl Backwards {
    fn put(&mut self, insn: Insn) -> Label {
        self.code.push(insn);
        Label(self.code.len() - 1)
    }

    /// How many instructions one written now would have to skip to reach `label`.
    fn distance(&self, label: Label) -> usize {
        self.code.len() - 1 - label.0
    }

    /// A return of `value` that the next few branches can reach.
    fn ret(&mut self, value: u32) -> Label {
        let near = self.code.len().saturating_sub(250);
        match self.code[near..].iter().rposition(|insn| insn.code == RET && insn.k == value) {
            Some(i) => Label(near + i),
            None => self.put(Insn { code: RET, jt: 0, jf: 0, k: value }),
        }
    }

    /// `insn`, which runs on into `next`.
    fn before(&mut self, next: Label, insn: Insn) -> Label {
        if self.distance(next) > 0 {
            self.hop(next);
        }
        self.put(insn)
    }

    /// A stand-in for `label` right here.
    fn hop(&mut self, label: Label) -> Label {
        let target = self.code[label.0];
        if target.code == RET {
            return self.put(target);
        }
        let k = self.distance(label) as u32;
        self.put(Insn { code: JA, jt: 0, jf: 0, k })
    }

    /// Compares the number with `k` and goes to `yes` or `no`, however far.
    fn branch(&mut self, code: u16, k: u32, mut yes: Label, mut no: Label) -> Label {
        loop {
            match (u8::try_from(self.distance(yes)), u8::try_from(self.distance(no))) {
                (Ok(jt), Ok(jf)) => return self.put(Insn { code, jt, jf, k }),
                // The further one first: what it adds may push the other out of reach, not the other way round.
                _ if self.distance(yes) > self.distance(no) => yes = self.hop(yes),
                _ => no = self.hop(no),
            }
        }
    }

    fn check(&mut self, check: &Check) -> Label {
        let mut next = self.ret(check.otherwise);
        for rule in check.rules.iter().rev() {
            let fail = next;
            next = self.ret(rule.then);
            for test in rule.tests.iter().rev() {
                next = self.test(test, next, fail);
            }
        }
        next
    }

    fn test(&mut self, test: &Test, yes: Label, no: Label) -> Label {
        let mut next = no;
        for value in test.values.iter().rev() {
            next = self.branch(JEQ, *value, yes, next);
        }
        if test.mask != u32::MAX {
            next = self.before(next, Insn { code: AND, jt: 0, jf: 0, k: test.mask });
        }
        // Little endian: the low half comes first. `COLUMNS` has no big-endian architecture.
        self.before(next, Insn { code: LD, jt: 0, jf: 0, k: OFFSET_ARGS + 8 * u32::from(test.arg) })
    }

    fn wide(&mut self, wide: &Wide) -> Label {
        let mut next = self.ret(wide.otherwise);
        for (tests, then) in wide.rules.iter().rev() {
            let fail = next;
            next = self.ret(*then);
            for test in tests.iter().rev() {
                next = self.wide_test(test, next, fail);
            }
        }
        next
    }

    /// The high half decides unless it is equal; then the low half does.
    fn wide_test(&mut self, test: &WideTest, yes: Label, no: Label) -> Label {
        let (yes, no) = if test.negated { (no, yes) } else { (yes, no) };
        let (high, low) = ((test.value >> 32) as u32, test.value as u32);
        let code = match test.compare {
            Compare::Equal => JEQ,
            Compare::Greater => JGT,
            Compare::GreaterOrEqual => JGE,
        };
        let offset = OFFSET_ARGS + 8 * u32::from(test.arg);
        let mut next = self.branch(code, low, yes, no);
        next = self.load(next, offset, test.mask as u32);
        next = self.branch(JEQ, high, next, no);
        if test.compare != Compare::Equal {
            next = self.branch(JGT, high, yes, next);
        }
        self.load(next, offset + 4, (test.mask >> 32) as u32)
    }

    /// Loads a word and cuts it to the bits that count.
    fn load(&mut self, mut next: Label, offset: u32, mask: u32) -> Label {
        if mask != u32::MAX {
            next = self.before(next, Insn { code: AND, jt: 0, jf: 0, k: mask });
        }
        self.before(next, Insn { code: LD, jt: 0, jf: 0, k: offset })
    }

    fn finish(mut self) -> Vec<Insn> {
        self.code.reverse();
        self.code
    }
}

/// What one more instruction costs, in instructions run while loading.
const PRICE: u32 = 87;

/// Most runs in one leaf.
const LONGEST_LEAF: usize = 12;

/// Runs next to each other that are decided by comparing with a few single numbers: all other numbers of the leaf have
/// one decision, the base.
#[derive(Debug, Clone, Copy)]
struct Leaf {
    /// First run.
    lo: usize,
    /// After the last run.
    hi: usize,
    base: u8,
}

/// Binary search over the leaves of one table, weighted by how many numbers lie in each.
struct Tree<'a> {
    runs: &'a [Run],
    decisions: &'a [Decision],
    leaves: Vec<Leaf>,
    /// Numbers in all leaves before this one; one more entry than leaves.
    before: Vec<u32>,
}

impl<'a> Tree<'a> {
    fn new(section: &'a Section, decisions: &'a [Decision]) -> Self {
        let runs = section.runs.as_slice();
        let leaves = leaves(runs);
        let tried = |run: usize| runs.get(run).map_or(LAST_TRIED, |r| r.first.min(LAST_TRIED));
        // One more per leaf, so that leaves beyond the tables are spread out too.
        let before = leaves.iter().enumerate().map(|(i, leaf)| tried(leaf.lo) + i as u32);
        let before = before.chain([LAST_TRIED + leaves.len() as u32]).collect();
        Self { runs, decisions, leaves, before }
    }

    fn emit(&self, code: &mut Backwards) -> Label {
        self.node(code, 0, self.leaves.len())
    }

    fn node(&self, code: &mut Backwards, lo: usize, hi: usize) -> Label {
        if hi - lo == 1 {
            return self.leaf(code, self.leaves[lo]);
        }
        let middle = self.split(lo, hi);
        let above = self.node(code, middle, hi);
        let below = self.node(code, lo, middle);
        code.branch(JGE, self.runs[self.leaves[middle].lo].first, above, below)
    }

    /// The first leaf of the upper half, by weight.
    fn split(&self, lo: usize, hi: usize) -> usize {
        let half = (self.before[lo] + self.before[hi]) / 2;
        let at = self.before[lo + 1..hi].partition_point(|w| *w < half) + lo + 1;
        let off = |i: usize| self.before[i].abs_diff(half);
        if at == hi || (at > lo + 1 && off(at - 1) <= off(at)) { at - 1 } else { at }
    }

    fn leaf(&self, code: &mut Backwards, leaf: Leaf) -> Label {
        let mut next = self.decision(code, leaf.base);
        for i in (leaf.lo..leaf.hi).rev().filter(|i| self.runs[*i].decision != leaf.base) {
            for offset in (0..length(self.runs, i)).rev() {
                let yes = self.decision(code, self.runs[i].decision);
                next = code.branch(JEQ, self.runs[i].first + offset, yes, next);
            }
        }
        next
    }

    fn decision(&self, code: &mut Backwards, index: u8) -> Label {
        match &self.decisions[usize::from(index)] {
            Decision::Return(value) => code.ret(*value),
            checked => {
                if let Some((_, label)) = code.checks.iter().find(|(i, _)| *i == index) {
                    return *label;
                }
                let label = match checked {
                    Decision::Check(check) => code.check(check),
                    Decision::Wide(wide) => code.wide(wide),
                    Decision::Return(value) => code.ret(*value),
                };
                code.checks.push((index, label));
                label
            }
        }
    }
}

/// How many numbers are in a run.
fn length(runs: &[Run], i: usize) -> u32 {
    // The last run ends at the last number there is; only a run of all numbers would be longer than u32 can say.
    let last = runs.get(i + 1).map_or(u32::MAX, |next| next.first - 1);
    (last - runs[i].first).saturating_add(1)
}

/// Cuts the runs into leaves, so that instructions (a comparison per single number, one per cut) and steps are fewest.
fn leaves(runs: &[Run]) -> Vec<Leaf> {
    let numbers = |lo: usize, hi: usize| {
        let at = |i: usize| runs.get(i).map_or(LAST_TRIED, |r| r.first.min(LAST_TRIED));
        at(hi) - at(lo)
    };
    // Cheapest way to cut the runs before each, and the last leaf of it.
    let mut best: Vec<(u32, Leaf)> = Vec::with_capacity(runs.len());
    for hi in 1..=runs.len() {
        let mut cheapest: Option<(u32, Leaf)> = None;
        let mut wide = None;
        for lo in (hi.saturating_sub(LONGEST_LEAF)..hi).rev() {
            let run = runs[lo];
            if length(runs, lo) > 2 && wide.replace(run.decision).is_some_and(|d| d != run.decision) {
                break;
            }
            let base = wide.unwrap_or(run.decision);
            let singles: u32 = (lo..hi).filter(|i| runs[*i].decision != base).map(|i| length(runs, i)).sum();
            let weight = numbers(lo, hi);
            let depth = singles + (LAST_TRIED / weight.max(1)).ilog2();
            let so_far = lo.checked_sub(1).map_or(0, |i| best[i].0);
            let cost = so_far + (singles + 1) * PRICE + weight * depth;
            if cheapest.is_none_or(|(least, _)| cost < least) {
                cheapest = Some((cost, Leaf { lo, hi, base }));
            }
        }
        best.extend(cheapest);
    }
    let mut leaves = Vec::new();
    let mut at = runs.len();
    while at > 0 {
        let leaf = best[at - 1].1;
        leaves.push(leaf);
        at = leaf.lo;
    }
    leaves.reverse();
    leaves
}
