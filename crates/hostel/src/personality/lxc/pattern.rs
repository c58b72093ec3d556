//! Regular expressions, as far as names of containers need them: `.`, `[…]`, `*`, `+`, `?`, `|`, groups, `^` and `$`.

/// A part of an expression.
#[derive(Debug)]
enum Node {
    Any,
    Char(char),
    /// Ranges, and whether it is one of them or none.
    Set(Vec<(char, char)>, bool),
    Begin,
    End,
    /// One of these sequences.
    Group(Vec<Vec<(Node, usize, usize)>>),
}

/// An expression.
#[derive(Debug)]
pub(super) struct Pattern(Node);

type Sequence = Vec<(Node, usize, usize)>;

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Pattern, &'static str> {
        let letters: Vec<char> = text.chars().collect();
        let mut at = 0;
        let group = group(&letters, &mut at, 0)?;
        if at < letters.len() { Err("there is a ) too many") } else { Ok(Pattern(group)) }
    }

    /// Whether it is anywhere in `text`.
    pub(super) fn is_in(&self, text: &str) -> bool {
        let letters: Vec<char> = text.chars().collect();
        (0..=letters.len()).any(|from| one(&self.0, &letters, from, &mut |_| true))
    }
}

/// Sequences up to the group's end.
fn group(letters: &[char], at: &mut usize, depth: usize) -> Result<Node, &'static str> {
    if depth > 20 {
        return Err("groups are too deep");
    }
    let mut all = vec![Sequence::new()];
    while let Some(&letter) = letters.get(*at) {
        *at += 1;
        let node = match letter {
            '|' => {
                all.push(Sequence::new());
                continue;
            }
            ')' => {
                *at -= 1;
                break;
            }
            '(' => {
                let inner = group(letters, at, depth + 1)?;
                if letters.get(*at) != Some(&')') {
                    return Err("a ) is missing");
                }
                *at += 1;
                inner
            }
            '.' => Node::Any,
            '^' => Node::Begin,
            '$' => Node::End,
            '[' => set(letters, at)?,
            '\\' => {
                *at += 1;
                Node::Char(*letters.get(*at - 1).ok_or("it ends with a backslash")?)
            }
            letter => Node::Char(letter),
        };
        let (least, most) = match letters.get(*at) {
            Some('*') => (0, usize::MAX),
            Some('+') => (1, usize::MAX),
            Some('?') => (0, 1),
            Some('{') => return Err("counts in braces are not known here"),
            _ => (1, 1),
        };
        *at += usize::from((least, most) != (1, 1));
        all.last_mut().ok_or("")?.push((node, least, most));
    }
    Ok(Node::Group(all))
}

fn set(letters: &[char], at: &mut usize) -> Result<Node, &'static str> {
    let none = letters.get(*at) == Some(&'^');
    *at += usize::from(none);
    let (mut ranges, first) = (Vec::new(), *at);
    loop {
        let from = *letters.get(*at).ok_or("a ] is missing")?;
        *at += 1;
        if from == ']' && *at - 1 > first {
            return Ok(Node::Set(ranges, !none));
        }
        match (letters.get(*at), letters.get(*at + 1)) {
            (Some('-'), Some(&to)) if to != ']' => {
                ranges.push((from, to));
                *at += 2;
            }
            _ => ranges.push((from, from)),
        }
    }
}

/// Whether `node` is at `from`, and what is after it goes on.
fn one(node: &Node, text: &[char], from: usize, after: &mut dyn FnMut(usize) -> bool) -> bool {
    let letter = |is: &dyn Fn(char) -> bool| text.get(from).is_some_and(|letter| is(*letter));
    match node {
        Node::Begin => from == 0 && after(from),
        Node::End => from == text.len() && after(from),
        Node::Any => letter(&|_| true) && after(from + 1),
        Node::Char(wanted) => letter(&|letter| letter == *wanted) && after(from + 1),
        Node::Set(ranges, within) => letter(&|letter| ranges.iter().any(|(a, b)| (*a..=*b).contains(&letter)) == *within) && after(from + 1),
        Node::Group(all) => all.iter().any(|sequence| rest(sequence, text, from, after)),
    }
}

fn rest(sequence: &[(Node, usize, usize)], text: &[char], from: usize, after: &mut dyn FnMut(usize) -> bool) -> bool {
    match sequence.split_first() {
        None => after(from),
        Some(((node, least, most), others)) => times((node, *least, *most), others, text, from, after),
    }
}

fn times(
    (node, least, most): (&Node, usize, usize),
    others: &[(Node, usize, usize)],
    text: &[char],
    from: usize,
    after: &mut dyn FnMut(usize) -> bool,
) -> bool {
    // One that matches nothing is not tried for ever.
    let again = &mut |to: usize| (to > from || least > 0) && times((node, least.saturating_sub(1), most.saturating_sub(1)), others, text, to, after);
    if most > 0 && one(node, text, from, again) {
        return true;
    }
    least == 0 && rest(others, text, from, after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        for (pattern, inside, outside) in [
            ("b", &["b", "abc"][..], &["", "a"][..]),
            ("^b", &["b", "bc"], &["ab"]),
            ("^web[0-9]+$", &["web1", "web10"], &["web", "web1x", "aweb1"]),
            ("^(a|bc)*d?$", &["", "abcad", "bcbc", "d"], &["b", "dd"]),
            ("a.c", &["abc", "xaxcx"], &["ac"]),
            ("[^a-c]", &["d"], &["abc"]),
            ("[]x]", &["]", "x"], &["["]),
            (r"\.", &["a.b"], &["ab"]),
            ("(a*)*$", &["", "aaa", "b"], &[]),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            for text in inside {
                assert!(parsed.is_in(text), "{pattern} {text}");
            }
            for text in outside {
                assert!(!parsed.is_in(text), "{pattern} {text}");
            }
        }
        for bad in ["(", ")", "[a", "a\\", "a{2}", &"(".repeat(100)] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }
}
