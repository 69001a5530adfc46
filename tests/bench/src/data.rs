// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What `bench-guest` printed.

use std::collections::BTreeMap;

/// The output of a boot.
#[derive(Debug, Default)]
pub struct Data {
    /// `value NAME V...` lines; those of a name put together.
    values: BTreeMap<String, Vec<f64>>,
    /// `call DRIVER ROUND NAME V...` lines: the samples of each round.
    calls: BTreeMap<(String, String), Vec<Vec<f64>>>,
    /// Names of calls, as they came.
    names: Vec<String>,
    /// `known N V`: what a loop of N instructions took.
    pub known: Vec<(f64, f64)>,
}

impl Data {
    /// Reads it. Lines of other kinds are an error, and so is text that ends before `end`.
    pub fn parse(text: &str) -> Result<Data, String> {
        let mut d = Data::default();
        let mut ended = false;
        for line in text.lines() {
            let bad = || format!("what is this: {line}");
            let w: Vec<&str> = line.split_whitespace().collect();
            let numbers = |w: &[&str]| -> Result<Vec<f64>, String> {
                w.iter()
                    .map(|s| s.parse::<f64>().ok().filter(|v| v.is_finite()))
                    .collect::<Option<Vec<f64>>>()
                    .filter(|v| !v.is_empty())
                    .ok_or_else(bad)
            };
            match w[..] {
                ["value", name, ..] => {
                    let v = numbers(&w[2..])?;
                    d.values.entry(name.to_string()).or_default().extend(v);
                }
                ["call", driver, _round, name, ..] => {
                    let v = numbers(&w[4..])?;
                    if !d.names.iter().any(|n| n == name) {
                        d.names.push(name.to_string());
                    }
                    d.calls
                        .entry((driver.to_string(), name.to_string()))
                        .or_default()
                        .push(v);
                }
                ["known", ..] => match numbers(&w[1..])?[..] {
                    [n, v] => d.known.push((n, v)),
                    _ => return Err(bad()),
                },
                ["end"] => ended = true,
                _ => return Err(bad()),
            }
        }
        if !ended {
            return Err("the measurement did not come to its end".into());
        }
        Ok(d)
    }

    /// The values of a figure.
    pub fn values(&self, name: &str) -> Result<&[f64], String> {
        self.values
            .get(name)
            .map(Vec::as_slice)
            .ok_or_else(|| format!("{name} was not measured"))
    }

    /// The calls that were measured, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What `of` makes of the samples of each round of a call, as they came.
    pub fn rounds(
        &self,
        driver: &str,
        name: &str,
        of: impl Fn(&[f64]) -> f64,
    ) -> Result<Vec<f64>, String> {
        self.calls
            .get(&(driver.to_string(), name.to_string()))
            .map(|v| v.iter().map(|r| of(r)).collect())
            .ok_or_else(|| format!("{name} was not measured with {driver}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::median;

    #[test]
    fn output_is_read() {
        let d = Data::parse(
            "known 10 11\ncall rust 0 f 3 1 2\ncall c 0 f 4\ncall rust 1 f 5\nvalue a 1 2\nvalue a 3\nend\n",
        )
        .unwrap();
        assert_eq!(d.rounds("rust", "f", median).unwrap(), [2.0, 5.0]);
        assert_eq!(d.values("a").unwrap(), [1.0, 2.0, 3.0]);
        assert_eq!((d.names().len(), d.known[0]), (1, (10.0, 11.0)));
        assert!(d.values("b").is_err() && d.rounds("c", "g", median).is_err());
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        assert!(Data::parse("value a 1\n").is_err());
        assert!(Data::parse("value a\nend\n").is_err());
        assert!(Data::parse("value a inf\nend\n").is_err());
        assert!(Data::parse("call rust 0 f x\nend\n").is_err());
        assert!(Data::parse("nonsense\nend\n").is_err());
    }
}
