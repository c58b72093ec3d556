//! Patterns for `--grep=`, and for names of containers: a small part of regular expressions, matched in a bounded number of steps.
//!
//! `.` `[a-z]` `[^…]` `\d \w \s \D \W \S \b` `^` `$` `(…)` `(?:…)` `a|b` `* + ? {n} {n,} {n,m}` (also lazy, which finds the same lines). What is not
//! known (references, look-around, …) is refused by [`Pattern::parse`].

/// Most steps of one match: what needs more does not match.
const STEPS_MAX: u32 = 200_000;
/// How many steps of a match may wait for each other.
const DEPTH_OF_MATCH: u32 = 4000;
/// Most parts of a pattern.
const NODES_MAX: usize = 2000;
/// How deep groups may be in each other.
const DEPTH_MAX: usize = 50;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Char(char),
    Any,
    Set(bool, Vec<(char, char)>),
    Start,
    End,
    WordEdge,
    Group(Vec<Vec<Node>>),
    Repeat(Box<Node>, u32, u32),
}

/// A pattern that was understood.
#[derive(Debug, Clone)]
pub struct Pattern {
    branches: Vec<Vec<Node>>,
    fold: bool,
}

struct Parser<'p> {
    rest: std::iter::Peekable<std::str::Chars<'p>>,
    nodes: usize,
}

type Parsed<T> = Result<T, &'static str>;

impl Parser<'_> {
    fn branches(&mut self, depth: usize) -> Parsed<Vec<Vec<Node>>> {
        if depth > DEPTH_MAX {
            return Err("groups are nested too deeply");
        }
        let mut all = vec![Vec::new()];
        while let Some(c) = self.rest.peek().copied() {
            if c == ')' {
                break;
            }
            self.rest.next();
            self.nodes += 1;
            if self.nodes > NODES_MAX {
                return Err("it is too long");
            }
            if c == '|' {
                all.push(Vec::new());
                continue;
            }
            let node = self.atom(c, depth)?;
            let node = self.repeated(node)?;
            if let Some(last) = all.last_mut() {
                last.push(node);
            }
        }
        Ok(all)
    }

    fn atom(&mut self, c: char, depth: usize) -> Parsed<Node> {
        Ok(match c {
            '.' => Node::Any,
            '^' => Node::Start,
            '$' => Node::End,
            '[' => self.set()?,
            '\\' => self.escape()?,
            '*' | '+' | '?' => return Err("quantifier does not follow a repeatable item"),
            '(' => {
                if self.rest.next_if_eq(&'?').is_some() && self.rest.next_if_eq(&':').is_none() {
                    return Err("groups that begin with (? are not known here, but for (?:");
                }
                let inside = self.branches(depth + 1)?;
                if self.rest.next() != Some(')') {
                    return Err("missing closing parenthesis");
                }
                Node::Group(inside)
            }
            c => Node::Char(c),
        })
    }

    fn escape(&mut self) -> Parsed<Node> {
        let c = self.rest.next().ok_or("\\ at end of pattern")?;
        Ok(match c {
            'b' => Node::WordEdge,
            'n' => Node::Char('\n'),
            't' => Node::Char('\t'),
            _ => match class(c) {
                Some((no, set)) => Node::Set(no, set),
                None if c.is_ascii_alphanumeric() => return Err("this escape is not known here"),
                None => Node::Char(c),
            },
        })
    }

    fn set(&mut self) -> Parsed<Node> {
        const OPEN: &str = "missing terminating ] for character class";
        let no = self.rest.next_if_eq(&'^').is_some();
        let mut ranges = Vec::new();
        let mut first = true;
        loop {
            let c = self.rest.next().ok_or(OPEN)?;
            if c == ']' && !first {
                return Ok(Node::Set(no, ranges));
            }
            first = false;
            let from = match c {
                '\\' => {
                    let c = self.rest.next().ok_or(OPEN)?;
                    match class(c) {
                        Some((false, set)) => {
                            ranges.extend(set);
                            continue;
                        }
                        Some(_) => return Err("\\D, \\W and \\S are not known inside [ ]"),
                        None if c == 'n' => '\n',
                        None if c == 't' => '\t',
                        None => c,
                    }
                }
                '[' if self.rest.peek() == Some(&':') => return Err("named classes are not known here"),
                c => c,
            };
            if self.rest.peek() != Some(&'-') {
                ranges.push((from, from));
                continue;
            }
            self.rest.next();
            match self.rest.peek().copied().ok_or(OPEN)? {
                ']' => ranges.extend([(from, from), ('-', '-')]),
                to => {
                    self.rest.next();
                    let to = if to == '\\' { self.rest.next().ok_or(OPEN)? } else { to };
                    if to < from {
                        return Err("range out of order in character class");
                    }
                    ranges.push((from, to));
                }
            }
        }
    }

    fn repeated(&mut self, mut node: Node) -> Parsed<Node> {
        let mut times = 0;
        loop {
            let (least, most) = match self.rest.peek() {
                Some('*') => (0, u32::MAX),
                Some('+') => (1, u32::MAX),
                Some('?') => (0, 1),
                Some('{') => match self.braces() {
                    Some(found) => found,
                    None => return Ok(node),
                },
                _ => return Ok(node),
            };
            times += 1;
            if times > 1 {
                return Err("a repetition of a repetition is not known here");
            }
            if self.rest.peek() != Some(&'{') {
                self.rest.next();
            } else {
                self.rest.find(|c| *c == '}');
            }
            if least > 1000 || most != u32::MAX && most > 1000 || least > most {
                return Err("number in {} quantifier out of order or too big");
            }
            // a lazy one matches the same texts
            self.rest.next_if_eq(&'?');
            node = Node::Repeat(Box::new(node), least, most);
        }
    }

    /// `{n}`, `{n,}`, `{n,m}`, looked at only; anything else is no repetition.
    fn braces(&mut self) -> Option<(u32, u32)> {
        let ahead: String = self.rest.clone().skip(1).take_while(|c| *c != '}').take(12).collect();
        if !self.rest.clone().any(|c| c == '}') {
            return None;
        }
        match ahead.split_once(',') {
            None => ahead.parse().ok().map(|n| (n, n)),
            Some((least, "")) => Some((least.parse().ok()?, u32::MAX)),
            Some((least, most)) => Some((least.parse().ok()?, most.parse().ok()?)),
        }
    }
}

/// Whether it is turned round, and its ranges.
fn class(c: char) -> Option<(bool, Vec<(char, char)>)> {
    let set = match c.to_ascii_lowercase() {
        'd' => vec![('0', '9')],
        'w' => vec![('a', 'z'), ('A', 'Z'), ('0', '9'), ('_', '_')],
        's' => vec![(' ', ' '), ('\t', '\r')],
        _ => return None,
    };
    Some((c.is_ascii_uppercase(), set))
}

fn is_word(c: Option<&char>) -> bool {
    c.is_some_and(|c| c.is_ascii_alphanumeric() || *c == '_')
}

struct Matching<'t> {
    text: &'t [char],
    fold: bool,
    steps: u32,
    depth: u32,
}

impl Matching<'_> {
    /// Whether `nodes` match at `at`, and `then` holds where they end.
    fn all(&mut self, nodes: &[Node], at: usize, then: &mut dyn FnMut(&mut Self, usize) -> bool) -> bool {
        let Some((node, rest)) = nodes.split_first() else { return then(self, at) };
        self.one(node, at, &mut |this, end| this.all(rest, end, then))
    }

    fn one(&mut self, node: &Node, at: usize, then: &mut dyn FnMut(&mut Self, usize) -> bool) -> bool {
        self.steps += 1;
        if self.steps > STEPS_MAX || self.depth > DEPTH_OF_MATCH {
            return false;
        }
        self.depth += 1;
        let found = self.step(node, at, then);
        self.depth -= 1;
        found
    }

    fn step(&mut self, node: &Node, at: usize, then: &mut dyn FnMut(&mut Self, usize) -> bool) -> bool {
        match node {
            Node::Start => at == 0 && then(self, at),
            Node::End => at == self.text.len() && then(self, at),
            Node::WordEdge => {
                let before = at.checked_sub(1).and_then(|before| self.text.get(before));
                is_word(before) != is_word(self.text.get(at)) && then(self, at)
            }
            Node::Group(branches) => branches.iter().any(|nodes| self.all(nodes, at, then)),
            Node::Repeat(inside, least, most) if !matches!(**inside, Node::Group(_)) => {
                // single characters: as many as there are, then fewer
                let mut end = at;
                while end - at < *most as usize && self.text.get(end).is_some_and(|c| self.fits(inside, *c)) {
                    end += 1;
                }
                while end >= at + *least as usize {
                    self.steps += 1;
                    if self.steps <= STEPS_MAX && then(self, end) {
                        return true;
                    }
                    if end == at {
                        return false;
                    }
                    end -= 1;
                }
                false
            }
            Node::Repeat(inside, least, most) => self.again(inside, *least, *most, at, then),
            node => self.text.get(at).is_some_and(|c| self.fits(node, *c)) && then(self, at + 1),
        }
    }

    fn again(&mut self, inside: &Node, least: u32, most: u32, at: usize, then: &mut dyn FnMut(&mut Self, usize) -> bool) -> bool {
        if most > 0 {
            let more = most - u32::from(most != u32::MAX);
            // one round that takes nothing would go on for ever
            let found =
                self.one(inside, at, &mut |this, end| (end > at || least > 0) && this.again(inside, least.saturating_sub(1), more, end, then));
            if found {
                return true;
            }
        }
        least == 0 && then(self, at)
    }

    fn fits(&self, node: &Node, c: char) -> bool {
        let same = |a: char| a == c || self.fold && a.to_lowercase().eq(c.to_lowercase());
        match node {
            Node::Any => c != '\n',
            Node::Char(a) => same(*a),
            Node::Set(no, ranges) => {
                let has = |c: char| ranges.iter().any(|(from, to)| (*from..=*to).contains(&c));
                let found = has(c) || self.fold && (c.to_lowercase().any(has) || c.to_uppercase().any(has));
                found != *no
            }
            _ => false,
        }
    }
}

impl Pattern {
    /// Understands a pattern. Case counts as `case` says, or when there is a capital letter in it.
    pub fn parse(text: &str, case: Option<bool>) -> Result<Pattern, &'static str> {
        let mut parser = Parser { rest: text.chars().peekable(), nodes: 0 };
        let branches = parser.branches(0)?;
        if parser.rest.next().is_some() {
            return Err("unmatched closing parenthesis");
        }
        Ok(Pattern { branches, fold: !case.unwrap_or_else(|| text.chars().any(char::is_uppercase)) })
    }

    /// Whether it is somewhere in a text.
    pub fn is_in(&self, text: &str) -> bool {
        // of very long texts the beginning counts
        let text: Vec<char> = text.chars().take(64 << 10).collect();
        let mut matching = Matching { text: &text, fold: self.fold, steps: 0, depth: 0 };
        (0..=text.len()).any(|at| self.branches.iter().any(|nodes| matching.all(nodes, at, &mut |_, _| true)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        #[rustfmt::skip]
        let table: &[(&str, &[&str], &[&str])] = &[
            ("error", &["an ERROR here", "error"], &["err", ""]),
            ("Error", &["Error"], &["error"]),
            ("^a.c$", &["abc", "a-c"], &["xabc", "abcd", "ac"]),
            ("ab*c", &["ac", "abbbc"], &["adc"]),
            ("a+b?", &["aaa", "ab"], &["b"]),
            (r"\d{3}-\d{2,4}", &["123-45"], &["12-345", "123-4"]),
            ("(foo|ba[rz])+ x", &["foobar x", "baz x"], &["bat x", "x"]),
            (r"\bword\b", &["a word."], &["swords"]),
            ("[^a-c]x", &["dx"], &["ax", "x"]),
            ("[]a-]x", &["]x", "-x"], &["bx"]),
            (r"a\.b", &["a.b"], &["axb"]),
            (r"[\d.]+$", &["v 1.2"], &["v 1.2 "]),
            ("a{,2}", &["a{,2}"], &["aa"]),
            ("", &["", "x"], &[]),
            ("(a|)*b", &["aab", "b"], &["a"]),
            ("^web[0-9]+$", &["web1", "web10"], &["web", "web1x", "aweb1"]),
            ("^(a|bc)*d?$", &["", "abcad", "bcbc", "d"], &["b", "dd"]),
            ("(a*)*$", &["", "aaa", "b"], &[]),
            ("ä+", &["ÄÄ"], &["a"]),
        ];
        for (pattern, yes, no) in table {
            let found = Pattern::parse(pattern, None).unwrap();
            yes.iter().for_each(|text| assert!(found.is_in(text), "{pattern} in {text}"));
            no.iter().for_each(|text| assert!(!found.is_in(text), "{pattern} not in {text}"));
        }
        assert!(Pattern::parse("ERROR", Some(false)).unwrap().is_in("error") && !Pattern::parse("error", Some(true)).unwrap().is_in("ERROR"));
        for bad in ["[", "(", ")", "*a", "a\\", "(?=x)", "a{3,2}", "[z-a]", "[a", r"\1", "a**", "[[:alpha:]]", &"(".repeat(100)] {
            assert!(Pattern::parse(bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn evil_ones_end() {
        let text = "a".repeat(2000);
        for pattern in ["(a*)*b", "(a|a)*b", "(a+)+$x", "a*a*a*a*a*b", "(.*)(.*)(.*)x"] {
            assert!(!Pattern::parse(pattern, None).unwrap().is_in(&text), "{pattern}");
        }
    }
}
