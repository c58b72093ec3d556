//! What is asked about the log as a whole: boots, fields, sizes; and what is done to its files.

use std::collections::{BTreeMap, BTreeSet};

use hostel_init::control::client::Client;
use hostel_init::journal::reader::{Reader, hex};
use hostel_init::manager::query::Request;
use hostel_unit::zone::Zone;

use super::filter::Filter;
use super::options::Options;
use super::{Outcome, show};
use crate::output;

/// A boot, with its first and last entry in microseconds since 1970.
pub(crate) type BootSpan = ([u8; 16], u64, u64);

/// Every boot there are entries of, the oldest first.
pub(crate) fn boots(reader: &mut Reader<'_>) -> Result<Vec<BootSpan>, String> {
    let mut all: Vec<BootSpan> = Vec::new();
    reader
        .forward(&mut |found| {
            let stamp = found.entry.stamp;
            match all.iter_mut().rev().find(|(boot, _, _)| *boot == stamp.boot) {
                Some((_, _, last)) => *last = stamp.realtime,
                None => all.push((stamp.boot, stamp.realtime, stamp.realtime)),
            }
            true
        })
        .map_err(|e| e.to_string())?;
    Ok(all)
}

pub(super) fn list_boots(reader: &mut Reader<'_>, zone: &Zone) -> Outcome {
    let all = boots(reader)?;
    let head = ["IDX", "BOOT ID", "FIRST ENTRY", "LAST ENTRY"];
    let rows: Vec<Vec<String>> = all
        .iter()
        .enumerate()
        .map(|(at, (boot, first, last))| {
            vec![format!("{:>3}", at as i64 - (all.len() as i64 - 1)), hex(boot), show::full(*first, zone), show::full(*last, zone)]
        })
        .collect();
    Ok(output::show(&output::table_within(&head, &rows, None)))
}

pub(super) fn names(reader: &mut Reader<'_>) -> Outcome {
    let mut all: BTreeSet<String> = BTreeSet::new();
    reader
        .forward(&mut |found| {
            for (name, _) in &found.entry.fields {
                if !all.contains(*name) {
                    all.insert((*name).to_owned());
                }
            }
            true
        })
        .map_err(|e| e.to_string())?;
    if !all.is_empty() {
        all.extend(["_BOOT_ID", "_MACHINE_ID", "_HOSTNAME"].map(str::to_owned));
    }
    Ok(output::show(&all.iter().map(|name| format!("{name}\n")).collect::<String>()))
}

pub(super) fn values(reader: &mut Reader<'_>, filter: &Filter, field: &str) -> Outcome {
    let mut all: BTreeSet<Vec<u8>> = BTreeSet::new();
    reader
        .forward(&mut |found| {
            if filter.wants(found) {
                match field {
                    "_BOOT_ID" => drop(all.insert(hex(&found.entry.stamp.boot).into_bytes())),
                    "_MACHINE_ID" => drop(all.insert(hex(&found.header.machine).into_bytes())),
                    "_HOSTNAME" => drop(all.insert(found.header.host.clone().into_bytes())),
                    _ => all.extend(found.entry.fields.iter().filter(|(name, _)| *name == field).map(|(_, value)| value.to_vec())),
                }
            }
            true
        })
        .map_err(|e| e.to_string())?;
    let mut out = Vec::new();
    for value in &all {
        out.extend_from_slice(value);
        out.push(b'\n');
    }
    output::write(&out).map_err(|e| e.to_string())?;
    Ok(0)
}

pub(super) fn usage(reader: &Reader<'_>) -> Outcome {
    let total: u64 = reader.files.iter().map(|file| file.length).sum();
    Ok(output::show(&format!("Archived and active journals take up {} in the file system.\n", output::bytes(total))))
}

/// Every record of every file, by its checksum.
pub(super) fn verify(reader: &Reader<'_>) -> Outcome {
    let mut status = 0;
    for file in &reader.files {
        match reader.load(file) {
            Ok(Some(loaded)) if loaded.is_whole() => output::tell(format_args!("PASS: {}", file.path)),
            Ok(Some(loaded)) => {
                output::tell(format_args!("FAIL: {} (torn after {} entries)", file.path, loaded.count()));
                status = 1;
            }
            Ok(None) => {
                output::tell(format_args!("FAIL: {} (it is no file of a log)", file.path));
                status = 1;
            }
            Err(e) => return Err(e.to_string()),
        }
    }
    Ok(status)
}

/// Removes old files, but never the last one, which may be written.
pub(super) fn vacuum(reader: &mut Reader<'_>, options: &Options, now: u64) -> Outcome {
    let mut freed: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        let total: u64 = reader.files.iter().map(|file| file.length).sum();
        let [oldest, second, ..] = reader.files.as_slice() else { break };
        let too_large = options.vacuum_size.is_some_and(|most| most > 0 && total > most);
        let too_many = options.vacuum_files.is_some_and(|most| most > 0 && reader.files.len() as u64 > most);
        // its last entry is older than the first of the next
        let too_old = options.vacuum_time.is_some_and(|age| age > 0 && second.first_entry() < now.saturating_sub(age));
        if !too_large && !too_many && !too_old {
            break;
        }
        let directory = oldest.path.rsplit_once('/').map_or("/", |(directory, _)| directory).to_owned();
        let length = oldest.length;
        reader.remove_oldest().map_err(|e| e.to_string())?;
        *freed.entry(directory).or_default() += length;
    }
    if !options.quiet {
        if freed.is_empty() {
            output::tell(format_args!("Vacuuming done, freed 0B of archived journals."));
        }
        for (directory, bytes) in freed {
            output::tell(format_args!("Vacuuming done, freed {} of archived journals from {directory}.", output::bytes(bytes)));
        }
    }
    Ok(0)
}

/// A word to the manager that writes the log; it is answered when all that came before is written.
pub(super) fn ask(what: &str, request: Request) -> Outcome {
    let Some(client) = Client::connect() else {
        return Err(format!("Cannot {what}: no manager runs here that writes a log (`hostel init` is one)."));
    };
    crate::personality::systemctl::managed::simple(client, request)
}
