//! Cores and caches, as /sys describes them; where it does not, common sizes are assumed and said to be so.

use std::fs;
use std::path::Path;

use super::Isa;

/// Data cache sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caches {
    /// First level, of one core.
    pub l1: usize,
    /// Second level, of one core (or of the cores that share it).
    pub l2: usize,
    /// Last level, 0 where there is none.
    pub l3: usize,
    /// One cache line.
    pub line: usize,
    /// Whether the sizes were read from the system rather than assumed.
    pub known: bool,
}

/// What schedules and reports need to know of a processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpu {
    /// Instruction set extensions.
    pub isa: Isa,
    /// Caches seen by the first core.
    pub caches: Caches,
    /// Physical cores this process may use.
    pub physical_cores: usize,
    /// Hardware threads this process may use.
    pub logical_cores: usize,
    /// The marketing name, where the system tells.
    pub name: Option<String>,
}

impl Cpu {
    /// Describes the machine this runs on.
    pub fn detect() -> Cpu {
        let logical_cores = std::thread::available_parallelism().map_or(1, usize::from);
        let siblings = threads_per_core(Path::new("/sys/devices/system/cpu"));
        Cpu {
            isa: Isa::detect(),
            caches: read_caches(Path::new("/sys/devices/system/cpu/cpu0/cache")),
            physical_cores: (logical_cores / siblings).max(1),
            logical_cores,
            name: processor_name(),
        }
    }
}

const ASSUMED: Caches = Caches { l1: 32 << 10, l2: 512 << 10, l3: 0, line: 64, known: false };

/// Reads the `index*` folders of one core's cache description.
fn read_caches(folder: &Path) -> Caches {
    let mut caches = Caches { l2: 0, ..ASSUMED };
    for index in 0..8 {
        let read = |file: &str| fs::read_to_string(folder.join(format!("index{index}")).join(file)).ok();
        let (Some(level), Some(kind), Some(size)) = (read("level"), read("type"), read("size")) else {
            continue;
        };
        let Some(bytes) = parse_size(size.trim()) else { continue };
        if kind.trim() == "Instruction" {
            continue;
        }
        match level.trim() {
            "1" => (caches.l1, caches.known) = (bytes, true),
            "2" => caches.l2 = bytes,
            _ => caches.l3 = caches.l3.max(bytes),
        }
        if let Some(line) = read("coherency_line_size").and_then(|text| text.trim().parse().ok()) {
            caches.line = line;
        }
    }
    if caches.known { caches } else { ASSUMED }
}

/// `48K`, `2M` or plain bytes.
fn parse_size(text: &str) -> Option<usize> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 1 << 10),
        b'M' => (&text[..text.len() - 1], 1 << 20),
        b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

fn threads_per_core(folder: &Path) -> usize {
    let list = fs::read_to_string(folder.join("cpu0/topology/thread_siblings_list")).unwrap_or_default();
    count_in_list(list.trim()).max(1)
}

/// How many numbers a list such as `0-3,8` names.
fn count_in_list(list: &str) -> usize {
    list.split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.trim().parse::<usize>().ok()?, last.trim().parse::<usize>().ok()?);
            last.checked_sub(first)?.checked_add(1)
        })
        .sum()
}

fn processor_name() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_lists_are_read() {
        assert_eq!(parse_size("48K"), Some(48 << 10));
        assert_eq!(parse_size("512"), Some(512));
        assert_eq!(parse_size(""), None);
        assert_eq!(count_in_list("0-3,8"), 5);
        assert_eq!(count_in_list(""), 0);
    }

    #[test]
    fn caches_come_from_files_or_are_assumed() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read_caches(folder.path()), ASSUMED);
        let caches = [
            ("1", "Data", "48K"),
            ("1", "Instruction", "32K"),
            ("2", "Unified", "2048K"),
            ("3", "Unified", "16M"),
        ];
        for (index, (level, kind, size)) in caches.iter().enumerate() {
            let at = folder.path().join(format!("index{index}"));
            fs::create_dir(&at).unwrap();
            for (file, text) in
                [("level", level), ("type", kind), ("size", size), ("coherency_line_size", &"64")]
            {
                fs::write(at.join(file), format!("{text}\n")).unwrap();
            }
        }
        let expected = Caches { l1: 48 << 10, l2: 2 << 20, l3: 16 << 20, line: 64, known: true };
        assert_eq!(read_caches(folder.path()), expected);
    }

    #[test]
    fn this_machine_has_cores() {
        let cpu = Cpu::detect();
        assert!(cpu.logical_cores >= cpu.physical_cores && cpu.physical_cores >= 1);
        assert!(cpu.caches.l1 >= 1 << 10 && cpu.caches.line.is_power_of_two());
    }
}
