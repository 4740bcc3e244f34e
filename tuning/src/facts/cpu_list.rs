//! Sets of CPUs as the kernel writes them: `0-3,8`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// No kernel is built for more (NR_CPUS), and no range up to here can exhaust memory or time.
const CPU_ID_MAX: u32 = 8_191;

/// An ordered set of CPU numbers; parses from, prints and serialises as `0-3,8`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CpuList(BTreeSet<u32>);

impl CpuList {
    /// The CPUs in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u32> + '_ {
        self.0.iter().copied()
    }

    /// How many CPUs there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `cpu` is one of them.
    pub fn contains(&self, cpu: u32) -> bool {
        self.0.contains(&cpu)
    }

    /// The CPUs of both.
    pub fn intersection(&self, other: &Self) -> Self {
        Self(&self.0 & &other.0)
    }

    /// The CPUs of this list that are not in the other.
    pub fn difference(&self, other: &Self) -> Self {
        Self(&self.0 - &other.0)
    }

    /// The CPUs of either.
    pub fn union(&self, other: &Self) -> Self {
        Self(&self.0 | &other.0)
    }
}

impl FromIterator<u32> for CpuList {
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> Self {
        Self(cpus.into_iter().collect())
    }
}

/// A text that is not a CPU list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("wanted a CPU list such as \"0-3,8\" with CPUs up to {CPU_ID_MAX}, found {found:?}")]
pub struct CpuListError {
    found: String,
}

impl FromStr for CpuList {
    type Err = CpuListError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let cpu = |text: &str| {
            text.trim()
                .parse::<u32>()
                .ok()
                .filter(|&cpu| cpu <= CPU_ID_MAX)
        };
        let range = |text: &str| match text.split_once('-') {
            None => cpu(text).map(|only| only..=only),
            Some((first, last)) => Some(cpu(first)?..=cpu(last)?).filter(|range| !range.is_empty()),
        };
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        text.split(',')
            .map(range)
            .try_fold(BTreeSet::new(), |mut cpus, range| {
                cpus.extend(range?);
                Some(cpus)
            })
            .map(Self)
            .ok_or_else(|| CpuListError {
                found: text.chars().take(80).collect(),
            })
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.iter().peekable();
        let mut comma = "";
        while let Some(first) = cpus.next() {
            let mut last = first;
            while cpus.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            match last {
                _ if last == first => write!(f, "{comma}{first}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

impl TryFrom<String> for CpuList {
    type Error = CpuListError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<CpuList> for String {
    fn from(cpus: CpuList) -> Self {
        cpus.to_string()
    }
}

/// The CPUs in a hexadecimal mask such as `ff,ffffffff`.
pub(crate) fn cpu_mask(text: &str) -> Option<CpuList> {
    let words: Option<Vec<u32>> = text
        .trim()
        .split(',')
        .map(|word| u32::from_str_radix(word, 16).ok())
        .collect();
    let words = words.filter(|words| words.len() <= CPU_ID_MAX as usize / 32 + 1)?;
    let bases = (0u32..).step_by(32);
    let cpus = words.iter().rev().zip(bases).flat_map(|(&word, base)| {
        (0..32)
            .filter(move |bit| word >> bit & 1 == 1)
            .map(move |bit| base + bit)
    });
    Some(cpus.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_parses_in_the_shortest_form() {
        for (text, printed) in [
            ("0-3,8", "0-3,8"),
            ("8,0,1,2,3", "0-3,8"),
            ("", ""),
            (" \n", ""),
            ("5", "5"),
            ("0-1,2-3", "0-3"),
            ("8191", "8191"),
        ] {
            assert_eq!(
                text.parse::<CpuList>().unwrap().to_string(),
                printed,
                "{text:?}"
            );
        }
    }

    #[test]
    fn refuses_what_is_not_a_list() {
        for text in [
            "x",
            "3-1",
            "1,,2",
            "-",
            "0-",
            "-1",
            "0-4294967295",
            "8192",
            "0x3",
            "1-2-3",
        ] {
            let error = text.parse::<CpuList>().unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn reads_masks_of_any_length() {
        let mask = |text| cpu_mask(text).map(|cpus| cpus.to_string());
        assert_eq!(mask("f").as_deref(), Some("0-3"));
        assert_eq!(mask("00000001,80000000\n").as_deref(), Some("31-32"));
        assert_eq!(mask("0").as_deref(), Some(""));
        for text in ["", "x", "1ffffffff", "1,,1", &"0,".repeat(999)] {
            assert_eq!(cpu_mask(text), None, "{text:?}");
        }
    }

    #[test]
    fn serialises_as_text() {
        let cpus: CpuList = [0, 1, 4].into_iter().collect();
        let json = serde_json::to_string(&cpus).unwrap();
        assert_eq!(json, r#""0-1,4""#);
        assert_eq!(serde_json::from_str::<CpuList>(&json).unwrap(), cpus);
    }
}
