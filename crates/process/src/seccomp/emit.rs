//! Decisions per system call number in, one classic BPF program out. Shared with `build.rs`.
//!
//! ```text
//! load arch ── native? ── load number ── balanced tree over ranges of numbers ── return, or compare arguments
//!          └── second? ── the same for its table
//!          └── anything else: `other`
//! ```
//! The kernel runs a new filter once for every number of both tables, to learn which calls it need not filter at all; so
//! the depth of the tree is most of what loading costs, and afterwards only checked and refused calls pay anything.
//! Code is laid out from its last instruction to its first: every jump's target then exists when the jump is written.

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
    /// Runs, ascending.
    pub(crate) runs: Vec<Run>,
}

const LD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JA: u16 = 0x05; // BPF_JMP | BPF_JA
const JEQ: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
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
        let tree = Tree::new(section, decisions).emit(&mut code);
        let nr = code.before(tree, Insn { code: LD, jt: 0, jf: 0, k: OFFSET_NR });
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

    fn finish(mut self) -> Vec<Insn> {
        self.code.reverse();
        self.code
    }
}

/// Binary search over the runs of one table, weighted by how many numbers lie in each.
struct Tree<'a> {
    runs: &'a [Run],
    decisions: &'a [Decision],
    /// Weight of all runs before this one; one more entry than runs.
    before: Vec<u32>,
}

impl<'a> Tree<'a> {
    fn new(section: &'a Section, decisions: &'a [Decision]) -> Self {
        let runs = section.runs.as_slice();
        let mut before = Vec::with_capacity(runs.len() + 1);
        let mut sum = 0;
        for (i, run) in runs.iter().enumerate() {
            before.push(sum);
            let end = runs.get(i + 1).map_or(LAST_TRIED, |next| next.first.min(LAST_TRIED));
            sum += 1 + 8 * end.saturating_sub(run.first);
        }
        before.push(sum);
        Self { runs, decisions, before }
    }

    fn emit(&self, code: &mut Backwards) -> Label {
        self.node(code, 0, self.runs.len())
    }

    fn node(&self, code: &mut Backwards, lo: usize, hi: usize) -> Label {
        if hi - lo == 1 {
            return self.leaf(code, lo);
        }
        if self.is_exception(lo, hi) {
            let no = self.leaf(code, lo);
            let yes = self.leaf(code, lo + 1);
            return code.branch(JEQ, self.runs[lo + 1].first, yes, no);
        }
        let middle = self.split(lo, hi);
        let above = self.node(code, middle, hi);
        let below = self.node(code, lo, middle);
        code.branch(JGE, self.runs[middle].first, above, below)
    }

    /// Three runs, of which the outer two agree and the middle one is a single number: one comparison does.
    fn is_exception(&self, lo: usize, hi: usize) -> bool {
        hi - lo == 3
            && self.runs[lo].decision == self.runs[lo + 2].decision
            && self.runs[lo + 1].first + 1 == self.runs[lo + 2].first
    }

    /// The first run of the upper half, by weight.
    fn split(&self, lo: usize, hi: usize) -> usize {
        let half = (self.before[lo] + self.before[hi]) / 2;
        let at = self.before[lo + 1..hi].partition_point(|w| *w < half) + lo + 1;
        let off = |i: usize| self.before[i].abs_diff(half);
        if at == hi || (at > lo + 1 && off(at - 1) <= off(at)) { at - 1 } else { at }
    }

    fn leaf(&self, code: &mut Backwards, run: usize) -> Label {
        match &self.decisions[usize::from(self.runs[run].decision)] {
            Decision::Return(value) => code.ret(*value),
            Decision::Check(check) => code.check(check),
        }
    }
}
