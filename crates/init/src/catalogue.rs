//! Every unit file of a search path by name, and what a name leads to.
//!
//! The directories are listed once. A name is then followed without I/O as far as links go between them; only links to files
//! elsewhere, and whether a file is empty (masked), are looked up in the tree.

use std::collections::BTreeMap;

use hostel_spec::Arrange as _;
use hostel_unit::{Gather as _, UnitName};

use crate::root::{Entry, Root, RootError};
use crate::search::{Place, SearchPath};

/// How many links are followed from one name to another.
const LINKS_MAX: usize = 40;

/// The directories of a search path, listed.
#[derive(Debug)]
pub struct Catalogue<'r> {
    /// The tree.
    pub root: &'r Root,
    /// Where it was looked.
    pub search: SearchPath,
    /// For each place its names.
    listings: Vec<BTreeMap<String, Entry>>,
    /// Names that are links, and the unit each leads to: made when it is first asked for, as every unit asks for all of them.
    links: std::cell::OnceCell<Vec<(UnitName, UnitName)>>,
    /// What links speak of, sorted by name: made when it is first asked for, as every unit asks for its own.
    pointers: std::cell::OnceCell<Vec<Pointer>>,
    /// The file that was found last, which is usually the next to be read: whether it is empty has to be known anyway.
    found: std::cell::RefCell<Option<(String, Vec<u8>)>>,
    /// What is before `.d` in names of directories of drop-ins, whichever place they are in, sorted.
    dropin_directories: Vec<String>,
    /// Names of directories such as `x.wants`, the same way.
    link_directories: Vec<String>,
}

/// Ends of names of directories with links in them.
const OF_LINKS: [&str; 3] = [".wants", ".requires", ".upholds"];

/// A link in a place or in a directory such as `…/x.wants`, under one of the two names that it has: its own, and its target's.
#[derive(Debug)]
pub(crate) struct Pointer {
    /// The one that it is looked for by.
    key: String,
    /// Number of the place.
    pub place: usize,
    /// Its own name.
    pub name: String,
    /// The last part of its target.
    pub base: String,
    /// It is in a directory such as `…/x.wants`.
    pub is_below: bool,
}

/// Where a name leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// To a file.
    File {
        /// The name that the file has, which the name asked for is an alias of, or the same, or its template.
        name: UnitName,
        /// Its path.
        path: String,
    },
    /// To nothing on purpose.
    Masked {
        /// The link or empty file.
        path: String,
    },
    /// To a link whose target is not there.
    Dangling {
        /// The link.
        path: String,
    },
    /// To a link that leads in a circle, or to a unit that it may not be an alias of.
    Wrong {
        /// The link.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is none.
    Missing,
}

impl<'r> Catalogue<'r> {
    /// Lists the directories. Those that are not there are empty.
    pub fn scan(root: &'r Root, search: SearchPath) -> Result<Catalogue<'r>, RootError> {
        // /lib is /usr/lib as a rule: what is found in the one need not be looked for in the other
        let mut seen = Some(Vec::new());
        let listing = |place: &Place| Ok(root.list_other(&place.path, &mut seen)?.unwrap_or_default().into_iter().gather());
        let listings: Vec<BTreeMap<String, Entry>> = search.places.iter().map(listing).collect::<Result<_, RootError>>()?;
        let directories = |stem: &dyn Fn(&str) -> Option<&str>| {
            let below = listings.iter().flatten().filter(|(_, entry)| matches!(entry, Entry::Directory | Entry::Link(_)));
            let mut found: Vec<String> = below.filter_map(|(name, _)| stem(name)).map(str::to_owned).collect();
            found.arrange();
            found.dedup();
            found.shrink_to_fit();
            found
        };
        let dropin_directories = directories(&|name| name.strip_suffix(".d"));
        let link_directories = directories(&|name| OF_LINKS.iter().any(|suffix| name.ends_with(suffix)).then_some(name));
        let (links, pointers, found) = Default::default();
        Ok(Catalogue { root, search, listings, links, pointers, found, dropin_directories, link_directories })
    }

    /// What is in a file of a unit.
    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>, RootError> {
        match self.found.take() {
            Some((found, bytes)) if found == path => Ok(bytes),
            _ => self.root.read(path),
        }
    }

    /// Whether a file of a place is empty; it is kept for [`Catalogue::read`].
    fn is_empty(&self, path: &str) -> bool {
        let bytes = self.root.read_listed(path).ok();
        // a device is what a container binds over a file to mask it
        let is_empty = bytes.as_ref().map_or_else(|| self.root.is_null_or_empty(path), Vec::is_empty);
        *self.found.borrow_mut() = bytes.map(|bytes| (path.to_owned(), bytes));
        is_empty
    }

    /// Links that bear a unit's name or lead to it.
    pub(crate) fn pointers(&self, name: &str) -> impl Iterator<Item = &Pointer> {
        let all = self.pointers.get_or_init(|| self.find_pointers());
        let first = all.partition_point(|pointer| pointer.key.as_str() < name);
        all[first..].iter().take_while(move |pointer| pointer.key == name)
    }

    fn find_pointers(&self) -> Vec<Pointer> {
        let mut all = Vec::new();
        let mut add = |place: usize, name: &str, entry: &Entry, is_below: bool| {
            let Entry::Link(target) = entry else { return };
            let base = target.rsplit_once('/').map_or(target.as_str(), |(_, base)| base);
            for key in [base, name].into_iter().take(if base == name { 1 } else { 2 }) {
                all.push(Pointer { key: key.to_owned(), place, name: name.to_owned(), base: base.to_owned(), is_below });
            }
        };
        for (number, (place, listing)) in self.places().enumerate() {
            for (name, entry) in listing {
                add(number, name, entry, false);
                if *entry != Entry::Directory || !OF_LINKS.iter().any(|suffix| name.ends_with(suffix)) {
                    continue;
                }
                for (name, entry) in self.root.list(&format!("{}/{name}", place.path)).ok().flatten().unwrap_or_default() {
                    add(number, &name, &entry, true);
                }
            }
        }
        all.arrange_by(|a, b| a.key.cmp(&b.key));
        all
    }

    /// The places with their names.
    pub fn places(&self) -> impl Iterator<Item = (&Place, &BTreeMap<String, Entry>)> {
        self.search.places.iter().zip(&self.listings)
    }

    /// Every name of a unit that has a file or link, each once, with its most important place.
    pub fn names(&self) -> BTreeMap<UnitName, &Place> {
        let mut names = BTreeMap::new();
        for (place, listing) in self.places() {
            for (name, _) in listing.iter().filter(|(_, entry)| matches!(entry, Entry::File | Entry::Link(_))) {
                if let Ok(unit) = UnitName::parse(name) {
                    names.entry(unit).or_insert(place);
                }
            }
        }
        names
    }

    /// Whether there is a file or link of exactly this name.
    pub fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }

    fn first(&self, name: &str) -> Option<(&Place, &Entry)> {
        let fits = |listing: &'_ BTreeMap<String, Entry>| listing.get(name).is_some_and(|e| matches!(e, Entry::File | Entry::Link(_)));
        self.places().find(|(_, listing)| fits(listing)).and_then(|(place, listing)| Some((place, listing.get(name)?)))
    }

    /// Follows a name; of an instance without a file of its own, that of its template.
    pub fn find(&self, name: &UnitName) -> Found {
        let mut wanted = name.clone();
        for _ in 0..LINKS_MAX {
            let mut asked = wanted.clone();
            let first = match self.first(wanted.as_str()) {
                Some(first) => Some(first),
                None => wanted.template().and_then(|template| {
                    let found = self.first(template.as_str());
                    asked = template;
                    found
                }),
            };
            let Some((place, entry)) = first else { return Found::Missing };
            let path = format!("{}/{asked}", place.path);
            let target = match entry {
                Entry::Link(target) => target,
                Entry::File | Entry::Other if self.is_empty(&path) => return Found::Masked { path },
                _ => return Found::File { name: wanted, path },
            };
            let absolute = if target.starts_with('/') { target.clone() } else { format!("{}/{target}", place.path) };
            // one step at a time: the link says a name, which may be overridden in a more important place
            let stepped = clean(&absolute);
            match self.alias(&wanted, &stepped) {
                Step::Alias(next) if next != wanted && next != asked => {
                    wanted = next;
                    continue;
                }
                Step::Wrong(why) => return Found::Wrong { path, why },
                _ => {}
            }
            let led = self.root.chase(&absolute);
            if led == "/dev/null" || self.root.is_null_or_empty(&path) {
                return Found::Masked { path };
            }
            if !self.root.exists(&path) {
                return Found::Dangling { path };
            }
            // a link to a file of the same name elsewhere: that file, where it is
            let path = if self.search.place_of(&stepped).is_some() { stepped } else { led };
            return Found::File { name: wanted, path };
        }
        Found::Wrong { path: name.to_string(), why: "its links lead in a circle" }
    }

    /// Whether the target of a link is another unit of the search path.
    fn alias(&self, from: &UnitName, target: &str) -> Step {
        if self.search.place_of(target).is_none() {
            return Step::Elsewhere;
        }
        let Some(Ok(to)) = target.rsplit_once('/').map(|(_, base)| UnitName::parse(base)) else { return Step::Elsewhere };
        match alias_fault(from, &to) {
            Some(why) => Step::Wrong(why),
            // the instance of an alias of a template is the instance of that template
            None if to.is_template() && from.is_instance() => Step::Alias(to.with_instance(from.instance().unwrap_or_default()).unwrap_or(to)),
            None => Step::Alias(to),
        }
    }

    /// Every other name that leads to `name`.
    pub fn aliases(&self, name: &UnitName) -> Vec<UnitName> {
        let template = name.template();
        let of = |(alias, led): &(UnitName, UnitName)| {
            if Some(led) == template.as_ref() && alias.is_template() {
                let alias = alias.with_instance(name.instance()?).ok()?;
                return matches!(self.find(&alias), Found::File { name: led, .. } if led == *name).then_some(alias);
            }
            (led == name).then(|| alias.clone())
        };
        let mut found: Vec<UnitName> = self.links.get_or_init(|| self.led()).iter().filter_map(of).filter(|alias| alias != name).collect();
        found.arrange();
        found.dedup();
        found
    }

    fn led(&self) -> Vec<(UnitName, UnitName)> {
        let links = self.places().flat_map(|(_, listing)| listing).filter(|(_, entry)| matches!(entry, Entry::Link(_)));
        let led = |alias: UnitName| match self.find(&alias) {
            Found::File { name, .. } if name != alias && name.kind() == alias.kind() => Some((alias, name)),
            _ => None,
        };
        links.filter_map(|(alias, _)| UnitName::parse(alias).ok()).filter_map(led).collect()
    }

    /// Entries of `NAME.wants` and the like in every place: `(path of the link, its name)`. Of several of one name the first counts.
    pub fn directory_links(&self, directory: &str) -> Vec<(String, UnitName)> {
        if !contains(&self.link_directories, directory) {
            return Vec::new();
        }
        let mut seen: BTreeMap<UnitName, (String, bool)> = BTreeMap::new();
        for (place, listing) in self.places() {
            if !matches!(listing.get(directory), Some(Entry::Directory | Entry::Link(_))) {
                continue;
            }
            let path = format!("{}/{directory}", place.path);
            let Ok(Some(entries)) = self.root.list(&path) else { continue };
            for (name, entry) in entries {
                let Ok(unit) = UnitName::parse(&name) else { continue };
                let masked = matches!(&entry, Entry::Link(target) if target == "/dev/null") || entry == Entry::Other;
                seen.entry(unit).or_insert((format!("{path}/{name}"), masked));
            }
        }
        seen.into_iter().filter(|(_, (_, masked))| !masked).map(|(name, (path, _))| (path, name)).collect()
    }

    /// Drop-ins of a name: paths in the order in which they are read.
    pub fn dropins(&self, names: &[UnitName]) -> Vec<String> {
        self.dropins_of(names, true)
    }

    /// The same as it is now, whatever there was when the places were listed.
    pub(crate) fn dropins_now(&self, names: &[UnitName]) -> Vec<String> {
        self.dropins_of(names, false)
    }

    fn dropins_of(&self, names: &[UnitName], is_listed: bool) -> Vec<String> {
        let mut directories: Vec<String> = Vec::new();
        // most names have none, and what theirs would be called need not be known for that
        let may_have = |name: &UnitName| {
            let (own, suffix) = (name.as_str(), name.kind().suffix());
            let fits = |stem: &String| stem == suffix || stem.ends_with(suffix) && stem.as_bytes().first() == own.as_bytes().first();
            !is_listed || self.dropin_directories.iter().any(fits)
        };
        for name in names.iter().filter(|name| may_have(name)) {
            // the most particular directories win
            for directory in name.dropin_names().into_iter().rev() {
                if !directories.contains(&directory) {
                    directories.push(directory);
                }
            }
        }
        let mut paths = Vec::new();
        let mut listings = Vec::new();
        for directory in &directories {
            if is_listed && !contains(&self.dropin_directories, directory) {
                continue;
            }
            let directory = format!("{directory}.d");
            for (place, listing) in self.places() {
                if !is_listed || matches!(listing.get(&directory), Some(Entry::Directory | Entry::Link(_))) {
                    let path = format!("{}/{directory}", place.path);
                    let entries = self.root.list(&path).ok().flatten().unwrap_or_default();
                    listings.push(entries.into_iter().map(|(name, _)| name).collect::<Vec<_>>());
                    paths.push(path);
                }
            }
        }
        hostel_unit::dropin::order(&listings).into_iter().map(|(place, name)| format!("{}/{name}", paths[place])).collect()
    }
}

/// Whether a sorted list has a name.
fn contains(sorted: &[String], name: &str) -> bool {
    sorted.binary_search_by(|other| other.as_str().cmp(name)).is_ok()
}

enum Step {
    Alias(UnitName),
    Wrong(&'static str),
    Elsewhere,
}

/// Why `from` may not be a link to `to`.
pub fn alias_fault(from: &UnitName, to: &UnitName) -> Option<&'static str> {
    if from.kind() != to.kind() {
        return Some("it leads to a unit of another type");
    }
    match (from.instance(), to.instance()) {
        (None, None) => None,
        // an alias of a template is a template, or one instance of it
        (Some(""), Some("")) => None,
        (Some(_), Some("")) => None,
        (Some(a), Some(b)) if a == b => None,
        _ => Some("it leads to a unit with another instance"),
    }
}

/// Takes `.`, `..` and doubled slashes out of an absolute path, without looking at links.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    format!("/{}", parts.join("/"))
}
