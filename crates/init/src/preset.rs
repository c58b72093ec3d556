//! Presets: whether a unit should be enabled (systemd.preset(5)).

use hostel_unit::{UnitName, dropin};

use crate::root::Root;
use crate::search::SearchPath;

/// Most rules that are kept.
const RULES_MAX: usize = 20_000;

/// What a rule says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Enable(String, Vec<String>),
    Disable(String),
    Ignore(String),
}

/// Every rule, the first that fits counts.
#[derive(Debug, Clone, Default)]
pub struct Presets {
    rules: Vec<Rule>,
}

/// What the presets want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Enabled; of a template these instances.
    Enabled(Vec<String>),
    /// Disabled.
    Disabled,
    /// As it is.
    Ignored,
}

impl Wanted {
    /// As UnitFilePreset.
    pub fn word(&self) -> &'static str {
        match self {
            Wanted::Enabled(_) => "enabled",
            Wanted::Disabled => "disabled",
            Wanted::Ignored => "ignored",
        }
    }
}

impl Presets {
    /// Reads the files of a tree: those of the more important directories hide others of their name; all are sorted by name.
    pub fn read(root: &Root, search: &SearchPath) -> Presets {
        let mut listings: Vec<Vec<String>> = Vec::new();
        for directory in &search.presets {
            let names = root.list(directory).ok().flatten().unwrap_or_default().into_iter().map(|(name, _)| name);
            listings.push(names.filter_map(|name| name.strip_suffix(".preset").map(|stem| format!("{stem}.conf"))).collect());
        }
        let mut presets = Presets::default();
        for (place, name) in dropin::order(&listings) {
            let stem = name.strip_suffix(".conf").unwrap_or(name);
            if let Ok(bytes) = root.read(&format!("{}/{stem}.preset", search.presets[place])) {
                presets.add(&String::from_utf8_lossy(&bytes));
            }
        }
        presets
    }

    /// Adds the rules of one file. Lines that are no rule are passed over.
    pub fn add(&mut self, text: &str) {
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
            let mut words = line.split_ascii_whitespace().map(str::to_owned);
            let (Some(verb), Some(pattern)) = (words.next(), words.next()) else { continue };
            let rule = match verb.as_str() {
                "enable" => Rule::Enable(pattern, words.collect()),
                "disable" => Rule::Disable(pattern),
                "ignore" => Rule::Ignore(pattern),
                _ => continue,
            };
            if self.rules.len() < RULES_MAX {
                self.rules.push(rule);
            }
        }
    }

    /// What the first rule that fits says; without one units are enabled.
    pub fn query(&self, name: &UnitName) -> Wanted {
        for rule in &self.rules {
            match rule {
                Rule::Disable(pattern) if glob(pattern, name.as_str()) => return Wanted::Disabled,
                Rule::Ignore(pattern) if glob(pattern, name.as_str()) => return Wanted::Ignored,
                Rule::Enable(pattern, instances) => match enables(pattern, instances, name) {
                    Some(instances) => return Wanted::Enabled(instances),
                    None => continue,
                },
                _ => {}
            }
        }
        Wanted::Enabled(Vec::new())
    }
}

/// Whether an enable rule fits: a template with instances stands for those.
fn enables(pattern: &str, instances: &[String], name: &UnitName) -> Option<Vec<String>> {
    if !instances.is_empty() {
        if name.is_template() && glob(pattern, name.as_str()) {
            return Some(instances.to_vec());
        }
        let template = name.template()?;
        let listed = instances.iter().any(|i| Some(i.as_str()) == name.instance());
        return (listed && glob(pattern, template.as_str())).then(Vec::new);
    }
    glob(pattern, name.as_str()).then(Vec::new)
}

/// fnmatch(3) without escapes: `*`, `?`, `[…]`.
pub fn glob(pattern: &str, text: &str) -> bool {
    // most of what is compared differs at its beginning
    let is_special = |b: u8| matches!(b, b'*' | b'?' | b'[');
    let same = pattern.bytes().zip(text.bytes()).take_while(|(p, t)| p == t && !is_special(*p)).count();
    match pattern.as_bytes().get(same) {
        Some(b) if is_special(*b) => glob_from(&pattern[same..], &text[same..]),
        Some(_) => false,
        None => text.len() == same,
    }
}

fn glob_from(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // where to go on when the last star takes one character more
    let mut again: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&'*') {
            again = Some((p + 1, t));
            p += 1;
            continue;
        }
        match one(&pattern[p..], text[t]) {
            Some(used) => (p, t) = (p + used, t + 1),
            None => match again {
                Some((star, from)) => {
                    again = Some((star, from + 1));
                    (p, t) = (star, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// How much of the pattern one character takes.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => {
            let negated = matches!(pattern.get(1), Some('!' | '^'));
            let start = if negated { 2 } else { 1 };
            let end = (start + 1..pattern.len()).find(|i| pattern[*i] == ']');
            let Some(end) = end else { return (c == '[').then_some(1) };
            let set = &pattern[start..end];
            let mut i = 0;
            let mut found = false;
            while i < set.len() {
                if i + 2 < set.len() && set[i + 1] == '-' {
                    found |= (set[i]..=set[i + 2]).contains(&c);
                    i += 3;
                } else {
                    found |= set[i] == c;
                    i += 1;
                }
            }
            (found != negated).then_some(end + 1)
        }
        literal => (*literal == c).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*b*c", "aXbYbZc", true),
            ("a?c", "abc", true),
            ("a[b-d]e", "ace", true),
            ("a[!b]c", "abc", false),
            ("[", "[", true),
            ("a*", "b", false),
            ("", "", true),
            ("*.service", "x.socket", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
        // no exponential time
        assert!(!glob(&"*a".repeat(60), &"a".repeat(59)));
    }

    #[test]
    fn rules() {
        let mut presets = Presets::default();
        presets.add("# c\nenable a.service\nenable t@.service x y\nignore i.service\ndisable *\nenable b.service\nnonsense\n");
        let query = |name| presets.query(&UnitName::parse(name).unwrap());
        assert_eq!(query("a.service"), Wanted::Enabled(vec![]));
        assert_eq!(query("b.service"), Wanted::Disabled);
        assert_eq!(query("i.service"), Wanted::Ignored);
        assert_eq!(query("t@.service"), Wanted::Enabled(vec!["x".into(), "y".into()]));
        assert_eq!(query("t@x.service"), Wanted::Enabled(vec![]));
        assert_eq!(query("t@z.service"), Wanted::Disabled);
        assert_eq!(Presets::default().query(&UnitName::parse("a.service").unwrap()), Wanted::Enabled(vec![]));
    }
}
