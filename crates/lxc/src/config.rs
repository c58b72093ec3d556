//! A configuration: values in the order they were set, and the lines that are saved.

use hostel_spec::Arrange as _;

use crate::keys::{self, List, NET, Net, Row};
use crate::{Files, Refused, values};

/// What a container's `config` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Whole keys and their canonical values; of a key that is no list at most one.
    values: Vec<(String, String)>,
    /// The lines as they were written, without what was included.
    pub(crate) lines: Vec<String>,
}

/// What a key names.
enum Named {
    Row(&'static Row),
    /// All of interface N.
    Interface(u32),
    /// One key of interface N.
    Net(u32, &'static Net),
}

const UNKNOWN: &str = "there is no such key";

impl Config {
    /// Sets `key`: a scalar is replaced, a list grows, an empty value clears. What is saved changes with it. A refused value changes
    /// nothing.
    pub fn set(&mut self, key: &str, value: &str, files: &mut dyn Files) -> Result<(), Refused> {
        // Saved as a line, it would be read as several.
        if value.contains(['\n', '\r', '\0']) {
            return Err(Refused { key: key.to_owned(), value: value.to_owned(), why: "it has more than one line" });
        }
        let before = self.values.clone();
        let taken = self.apply(key, value, files, 0).inspect_err(|_| self.values = before)?;
        if value.is_empty() || !taken.adds {
            self.forget_lines(key);
        }
        if taken.fresh {
            // its other settings went with the type that it had
            self.forget_lines(key.strip_suffix(".type").unwrap_or(key));
        }
        if !value.is_empty() {
            self.lines.push(format!("{key} = {}", taken.written.as_deref().unwrap_or(value)));
        }
        Ok(())
    }

    /// Clears `key`, or all that is below it.
    pub fn clear(&mut self, key: &str) -> Result<(), Refused> {
        match self.named(key)? {
            Named::Row(row) if row.list == List::Below => self.forget(&format!("{key}."), true),
            Named::Row(_) | Named::Net(..) => self.forget(key, false),
            Named::Interface(_) => self.forget(&format!("{key}."), true),
        }
        self.forget_lines(key);
        Ok(())
    }

    /// What is set, as liblxc shows it: a scalar bare, or what holds when it is not set; of most lists each value on a line of its own.
    pub fn get(&self, key: &str) -> Result<String, Refused> {
        match self.named(key)? {
            Named::Net(_, net) => Ok(self.shown(key, &net.row)),
            Named::Row(row) if matches!(row.list, List::Include) || row.name == "lxc.hook" => Err(Refused::key(key, "it has no value of its own")),
            Named::Row(row) if row.name == "lxc.net" => {
                Ok(self.interfaces().into_iter().map(|n| self.value(&format!("lxc.net.{n}.type")).unwrap_or("").to_owned() + "\n").collect())
            }
            Named::Row(row) if row.list == List::Below => {
                let own = |name: &str| keys::find(name).is_some_and(|row| row.name.ends_with('.') && row.name.len() == key.len() + 1);
                let all = self.values.iter().filter(|(name, _)| name.starts_with(key) && own(name));
                Ok(all.map(|(name, value)| format!("{name} = {value}\n")).collect())
            }
            Named::Row(row) => Ok(self.shown(key, row)),
            Named::Interface(_) => Err(Refused::key(key, "it has no value of its own")),
        }
    }

    /// The keys there are, without the interfaces'; below `lxc.net.N` those of that interface's type, without their beginning.
    pub fn keys(&self, below: Option<&str>) -> Result<Vec<&'static str>, Refused> {
        let Some(below) = below else {
            return Ok(keys::ROWS
                .iter()
                .map(|row| row.name)
                .filter(|name| !name.ends_with('.') && !name.starts_with("lxc.namespace.share."))
                .collect());
        };
        match self.named(below)? {
            Named::Interface(n) if self.interfaces().contains(&n) => Ok(NET.iter().filter(|net| self.fits(n, net)).map(|net| net.row.name).collect()),
            Named::Interface(_) => Err(Refused::key(below, "there is no such interface")),
            _ => Err(Refused::key(below, "it has no keys below it that could be listed")),
        }
    }

    /// The values of `key`, canonical, in the order they were set.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.values.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The value of a scalar; none: it is not set.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.values.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// What is set of the keys that begin with `prefix`: the rest of the key, and the value.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.values.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// Numbers of the interfaces, rising.
    pub fn interfaces(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self.below("lxc.net.").filter_map(|(rest, _)| rest.split_once('.')?.0.parse().ok()).collect();
        all.arrange();
        all.dedup();
        all
    }

    /// Type and path of the root file system; without a type it is to be found out.
    pub fn root(&self) -> Option<(Option<&str>, &str)> {
        let value = self.value("lxc.rootfs.path")?;
        Some(match value.split_once(':') {
            Some((kind, path)) if !kind.contains('/') && !kind.is_empty() => (Some(kind), path),
            _ => (None, value),
        })
    }

    /// What is saved: the lines as they were loaded, with what was set since.
    pub fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn named(&self, key: &str) -> Result<Named, Refused> {
        let unknown = || Refused::key(key, UNKNOWN);
        let Some(rest) = key.strip_prefix("lxc.net.") else {
            return keys::find(key).map(Named::Row).ok_or_else(unknown);
        };
        let (number, name) = rest.split_once('.').unwrap_or((rest, ""));
        // as plain digits, so that one interface has one name
        let n: u32 = number.parse().ok().filter(|n: &u32| n.to_string() == number).ok_or_else(unknown)?;
        if name.is_empty() {
            return if rest == number { Ok(Named::Interface(n)) } else { Err(unknown()) };
        }
        let net = NET.iter().find(|net| net.row.name == name).ok_or_else(unknown)?;
        if self.fits(n, net) { Ok(Named::Net(n, net)) } else { Err(Refused::key(key, "an interface of its type has no such key")) }
    }

    /// Whether interface `n` has that key: it is of its type, or of no type yet.
    fn fits(&self, n: u32, net: &Net) -> bool {
        match (net.of, self.value(&format!("lxc.net.{n}.type"))) {
            ("", _) => true,
            ("-", kind) => kind != Some("empty"),
            (of, kind) => kind == Some(of),
        }
    }

    fn shown(&self, key: &str, row: &Row) -> String {
        let mut all: Vec<&str> = self.values(key).filter(|value| *value != "none" || row.list != List::Words).collect();
        if key.starts_with("lxc.namespace.") && row.list == List::Words {
            all.arrange_by_key(|name| values::NAMESPACES.iter().position(|known| known == name));
        }
        match row.list {
            List::Lines | List::Words => all.into_iter().map(|value| format!("{value}\n")).collect(),
            // without the broadcast address
            List::Joined if key.ends_with(".ipv4.address") => {
                all.iter().map(|value| value.split(' ').next().unwrap_or("")).collect::<Vec<_>>().join("\n")
            }
            List::Joined => all.join("\n"),
            List::Commas => all.join(","),
            List::Kinds => all.join(" "),
            List::No if row.name == "lxc.rootfs.path" => self.root().map(|(_, path)| path).unwrap_or_default().to_owned(),
            List::No | List::Below | List::Include => all.last().map_or(row.unset, |value| value).to_owned(),
        }
    }

    /// Takes a setting without touching the lines.
    pub(crate) fn apply(&mut self, key: &str, value: &str, files: &mut dyn Files, depth: usize) -> Result<Taken, Refused> {
        let refuse = |why| Refused { key: key.to_owned(), value: value.to_owned(), why };
        let (row, interface) = match self.named(key)? {
            Named::Row(row) => (row, None),
            Named::Net(n, net) => (&net.row, Some(n)),
            Named::Interface(_) if value.is_empty() => return self.cleared(key),
            Named::Interface(_) => return Err(refuse("it has no value of its own")),
        };
        let typed = interface.is_some() && row.name == "type";
        match row.list {
            List::Include if value.is_empty() => return Ok(Taken::default()),
            List::Include => return self.include(&(row.take)(value).map_err(refuse)?, files, depth).map_err(refuse).map(|()| Taken::list()),
            _ if value.is_empty() && typed => return Err(refuse("an interface has a type")),
            _ if value.is_empty() && row.empty.is_empty() => return self.cleared(key),
            List::Below => return Err(refuse("it has no value of its own")),
            _ => {}
        }
        let value = if value.is_empty() { row.empty } else { value };
        let mut words = match row.list {
            List::Words | List::Kinds => value.split_ascii_whitespace().map(row.take).collect::<Result<Vec<_>, _>>(),
            List::Commas => value.split(',').map(str::trim).filter(|word| !word.is_empty()).map(row.take).collect(),
            _ => (row.take)(value).map(|value| vec![value]),
        }
        .map_err(refuse)?;
        if let Some(other) = excluded(row.name)
            && self.values(other).next().is_some()
        {
            return Err(refuse(if row.name.starts_with("lxc.cap") {
                "lxc.cap.drop and lxc.cap.keep exclude each other"
            } else {
                "lxc.namespace.clone and .keep exclude each other"
            }));
        }
        let mut written = None;
        match row.list {
            List::No => {
                if row.name == "hwaddr" && value.bytes().any(|b| b.eq_ignore_ascii_case(&b'x')) {
                    let digit =
                        |c: char| if c.eq_ignore_ascii_case(&'x') { char::from_digit(u32::from(files.digit() & 15), 16).unwrap_or('0') } else { c };
                    words[0] = value.chars().map(digit).collect();
                    written = Some(words[0].clone());
                }
                if let (true, Some(n)) = (typed, interface) {
                    self.forget(&format!("lxc.net.{n}."), true);
                }
                // where it stood: lists of several keys keep their order
                if let Some((_, old)) = self.values.iter_mut().find(|(name, _)| name == key) {
                    *old = std::mem::take(&mut words[0]);
                    words.clear();
                }
            }
            List::Kinds => {
                let kind = |value: &str| value.split(':').next().unwrap_or("").to_owned();
                self.values.retain(|(name, old)| name != key || !words.iter().any(|new| kind(new) == kind(old)));
            }
            List::Words if row.name == "lxc.cap.keep" => {
                if let Some(at) = words.iter().rposition(|word| word == "none") {
                    words.drain(..at);
                    self.forget(key, false);
                } else {
                    self.values.retain(|(name, old)| name != key || old != "none");
                }
            }
            List::Words if row.name.starts_with("lxc.namespace.") => self.values.retain(|(name, old)| name != key || !words.contains(old)),
            _ => {}
        }
        self.values.extend(words.into_iter().map(|value| (key.to_owned(), value)));
        Ok(Taken { adds: row.list != List::No, fresh: typed, written })
    }

    fn cleared(&mut self, key: &str) -> Result<Taken, Refused> {
        let lines = std::mem::take(&mut self.lines);
        let done = self.clear(key);
        self.lines = lines;
        done.map(|()| Taken::default())
    }

    fn forget(&mut self, key: &str, below: bool) {
        self.values.retain(|(name, _)| if below { !name.starts_with(key) } else { name != key });
    }

    /// Takes the lines of `key`, and of what is below it, out of what is saved.
    fn forget_lines(&mut self, key: &str) {
        let below = matches!(self.named(key), Ok(Named::Interface(_) | Named::Row(Row { list: List::Below, .. })));
        self.lines.retain(|line| {
            let name = crate::file::setting(line).map_or("", |(name, _)| name);
            name != key && !(below && name.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
        });
    }
}

/// What became of a setting.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// It stands beside those set earlier.
    pub(crate) adds: bool,
    /// It began an interface anew.
    pub(crate) fresh: bool,
    /// The value to be saved, where it is not as it was written.
    pub(crate) written: Option<String>,
}

impl Taken {
    fn list() -> Taken {
        Taken { adds: true, ..Taken::default() }
    }
}

/// The key that cannot be set beside this one.
fn excluded(key: &str) -> Option<&'static str> {
    Some(match key {
        "lxc.cap.drop" => "lxc.cap.keep",
        "lxc.cap.keep" => "lxc.cap.drop",
        "lxc.namespace.clone" => "lxc.namespace.keep",
        "lxc.namespace.keep" => "lxc.namespace.clone",
        _ => return None,
    })
}
