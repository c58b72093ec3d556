//! Configuration as text: lines, quotes, includes, names of old.

use crate::config::Config;
use crate::{Fault, Refused, legacy};

/// What a configuration needs of the host.
pub trait Files {
    /// The files that `lxc.include = PATH` means, with their names: the file, or the `*.conf` of a directory in their order.
    fn read(&mut self, path: &str) -> Result<Vec<(String, String)>, &'static str>;
    /// A random hexadecimal digit, of which the low four bits count.
    fn digit(&mut self) -> u8;
}

/// What a load had to say besides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loaded {
    /// File, line and words, for people: names of old.
    pub warnings: Vec<String>,
}

/// How deep files may include each other: a file that includes itself is found out here.
const DEPTH: usize = 16;
/// Bytes of one file.
const SIZE: usize = 1 << 20;

impl Config {
    /// Takes the lines of a file, after those taken before. With a fault nothing is changed.
    pub fn load(&mut self, file: &str, text: &str, files: &mut dyn Files) -> Result<Loaded, Fault> {
        let mut next = self.clone();
        let mut reader = Reader { loaded: Loaded::default(), network: None };
        reader.lines(&mut next, file, text, files, 0)?;
        *self = next;
        Ok(reader.loaded)
    }

    /// Takes what `lxc.include` names; what it says is not saved.
    pub(crate) fn include(&mut self, path: &str, files: &mut dyn Files, depth: usize) -> Result<(), &'static str> {
        if depth >= DEPTH {
            return Err("files include each other more than 16 deep: one includes itself");
        }
        let mut reader = Reader { loaded: Loaded::default(), network: None };
        for (file, text) in files.read(path)? {
            reader.lines(self, &file, &text, files, depth + 1).map_err(|_| "a file that it includes is refused")?;
        }
        Ok(())
    }
}

struct Reader {
    loaded: Loaded,
    /// The interface that `lxc.network.…` is about.
    network: Option<u32>,
}

impl Reader {
    fn lines(&mut self, config: &mut Config, file: &str, text: &str, files: &mut dyn Files, depth: usize) -> Result<(), Fault> {
        if text.len() > SIZE {
            return Err(Fault { file: file.to_owned(), line: 0, why: "it has more than 1 MiB".to_owned() });
        }
        for (at, line) in text.split_terminator('\n').enumerate() {
            let fault = |why: String| Fault { file: file.to_owned(), line: at + 1, why };
            let trimmed = line.trim();
            let mut saved = line.to_owned();
            if trimmed.starts_with("lxc.") {
                let (key, value) = setting(line).ok_or_else(|| fault("it is no `key = value`".to_owned()))?;
                let key = match self.modern(config, key).map_err(|refused| fault(refused.to_string()))? {
                    Some(modern) => {
                        self.loaded.warnings.push(match modern.is_empty() {
                            true => format!("{file}:{}: {key} is no key since LXC 3.0, and has no effect", at + 1),
                            false => format!("{file}:{}: {key} is called {modern} since LXC 3.0", at + 1),
                        });
                        modern
                    }
                    None => key.to_owned(),
                };
                if !key.is_empty() {
                    let taken = self.take(config, &key, value, file, files, depth).map_err(fault)?;
                    if let Some(written) = taken {
                        saved = format!("{key} = {written}");
                    }
                }
            }
            if depth == 0 {
                config.lines.push(saved);
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        config: &mut Config,
        key: &str,
        value: &str,
        file: &str,
        files: &mut dyn Files,
        depth: usize,
    ) -> Result<Option<String>, String> {
        if key != "lxc.include" || value.is_empty() {
            return config.apply(key, value, files, depth).map(|taken| taken.written).map_err(|refused| refused.to_string());
        }
        // here rather than by `apply`, so that a fault names the innermost file
        if depth >= DEPTH {
            return Err(format!("include {value}: files include each other more than {DEPTH} deep: {file} includes itself"));
        }
        for (name, text) in files.read(value).map_err(|why| format!("include {value}: {why}"))? {
            self.lines(config, &name, &text, files, depth + 1).map_err(|fault| fault.to_string())?;
        }
        Ok(None)
    }

    /// Today's name of a key of LXC 2; empty: it has none. None: it is no name of old.
    fn modern(&mut self, config: &Config, key: &str) -> Result<Option<String>, Refused> {
        let Some(rest) = key.strip_prefix("lxc.network") else {
            return Ok(legacy::modern(key));
        };
        if rest.is_empty() {
            self.network = None;
            return Ok(Some("lxc.net".to_owned()));
        }
        if rest == ".type" {
            self.network = Some(config.interfaces().last().map_or(0, |last| last + 1));
        }
        match self.network {
            Some(n) => Ok(Some(format!("lxc.net.{n}{}", legacy::network(rest)))),
            None => Err(Refused::key(key, "lxc.network.type comes first")),
        }
    }
}

/// Key and value of a line, without blanks around them and one pair of quotes around the value; none: it is no setting.
pub fn setting(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if !line.starts_with("lxc.") {
        return None;
    }
    let (key, value) = line.split_once('=')?;
    let value = value.trim();
    let inner = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    Some((key.trim(), inner.unwrap_or(value)))
}
