// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Figures, what they are to reach, and whether they do.

use crate::data::Data;
use crate::stats::{line, lowest, median, percentile, quartile, resampled_ratios, Spread};
use serde::{Deserialize, Serialize};

/// What a figure is to reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// No more than this.
    Most(f64),
    /// At least this.
    Least(f64),
}

/// A figure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// What it is of: `calls`, `attributes`, `others`, `growth`.
    pub group: String,
    /// What it is.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// The median, or what [`Ratio`] says.
    pub value: f64,
    /// Lowest of what it comes from, or what it might have been as well.
    pub low: f64,
    /// Highest.
    pub high: f64,
    /// What it is to reach; none for those that explain others.
    pub target: Option<Target>,
    /// Whether it does.
    pub met: Option<bool>,
    /// Why not, where that does not show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Figure {
    fn new(group: &str, name: impl Into<String>, unit: &str, s: Spread) -> Figure {
        Figure {
            group: group.into(),
            name: name.into(),
            unit: unit.into(),
            value: s.mid,
            low: s.low,
            high: s.high,
            target: None,
            met: None,
            why: None,
        }
    }

    fn reaching(mut self, target: Target) -> Figure {
        self.met = Some(match target {
            Target::Most(t) => self.value <= t,
            Target::Least(t) => self.value >= t,
        });
        self.target = Some(target);
        self
    }

    fn of(group: &str, name: impl Into<String>, unit: &str, value: f64) -> Figure {
        let s = Spread {
            mid: value,
            low: value,
            high: value,
        };
        Figure::new(group, name, unit, s)
    }
}

/// Ratio of two drivers for a call, in one unit.
#[derive(Clone, Debug)]
pub struct Ratio {
    /// Ours: the figure that is compared, and the range of all rounds.
    pub rust: Spread,
    /// The other one.
    pub c: Spread,
    /// Ours over the other one, and what that might have been as well in 98 of 100 runs.
    pub ratio: Spread,
    /// What the other one over itself exceeds in one run of a hundred: a ratio up to this says nothing.
    pub floor: f64,
    /// Rounds that had no luck: ours, and so many of the other one's as would say nothing.
    pub unlucky: (usize, usize),
}

/// How much longer than a lucky round one takes that has no luck.
const UNLUCKY: f64 = 1.25;

/// So much of the rounds may be unlucky by chance in addition to what the other driver's are: one of a
/// hundred times that two drivers have the same chance of one in four in 32 rounds.
const BY_CHANCE: f64 = 0.25;

impl Ratio {
    /// `of` makes a figure of the samples of a round, `all` one of the figures of all rounds.
    fn of(
        d: &Data,
        name: &str,
        of: impl Fn(&[f64]) -> f64,
        all: impl Fn(&[f64]) -> f64,
    ) -> Result<Ratio, String> {
        let (rust, c) = (d.rounds("rust", name, &of)?, d.rounds("c", name, &of)?);
        if rust.is_empty() || c.len() != rust.len() + 1 {
            return Err(format!("{name}: not all rounds were measured"));
        }
        let figure = |v: &[f64]| Spread {
            mid: all(v),
            ..Spread::of(v)
        };
        let ratio = |a: &[f64], b: &[f64]| {
            let v = resampled_ratios(a, b, &all);
            Spread {
                mid: all(a) / all(b),
                low: percentile(&v, 1.0),
                high: percentile(&v, 99.0),
            }
        };
        let unlucky = |v: &[f64]| v.iter().filter(|t| **t > UNLUCKY * all(v)).count();
        let share = unlucky(&c) as f64 / c.len() as f64;
        Ok(Ratio {
            unlucky: (
                unlucky(&rust),
                ((share + BY_CHANCE) * rust.len() as f64).floor() as usize,
            ),
            rust: figure(&rust),
            c: figure(&c),
            ratio: ratio(&rust, &c),
            floor: ratio(&c, &c).high.max(RESOLUTION),
        })
    }

    /// Whether ours takes no more than the other one. Where that may differ from itself too much, and
    /// ours is not below it for sure, nobody can say: that does not count as a yes.
    fn judge(&self, name: &str, unit: &str, drowned: f64) -> Figure {
        let f = Figure::new(
            "calls",
            format!("{name}: {unit}, Rust/C"),
            "ratio",
            self.ratio,
        );
        let (unlucky, most) = self.unlucky;
        if unlucky > most {
            return Figure {
                target: Some(Target::Most(self.floor)),
                met: Some(false),
                why: Some(format!(
                    "{unlucky} rounds take {UNLUCKY} times as long or more, C lets expect {most} at most"
                )),
                ..f
            };
        }
        if self.ratio.high > 1.0 && self.floor > drowned {
            return Figure {
                target: Some(Target::Most(drowned)),
                met: Some(false),
                why: Some(format!(
                    "C may differ from itself by {:.2}: nothing can be said",
                    self.floor
                )),
                ..f
            };
        }
        f.reaching(Target::Most(self.floor))
    }
}

/// The calls that are compared.
pub const CALLS: [&str; 13] = [
    "open_close",
    "bo_create_close",
    "vm_create_destroy",
    "map_4k",
    "unmap_4k",
    "map_2m",
    "unmap_2m",
    "map_64m",
    "unmap_64m",
    "first_fault_4k",
    "first_fault_2m",
    "swap_fault_4k",
    "swap_fault_2m",
];

/// A call.
pub struct Call {
    /// Its name.
    pub name: &'static str,
    /// Instructions.
    pub instructions: Ratio,
    /// Nanoseconds.
    pub time: Ratio,
}

/// What a driver differs from itself from one boot to the next, in instructions.
const RESOLUTION: f64 = 1.005;

/// Where a driver may differ from itself more than this, its noise drowns what two drivers differ.
const DROWNED: f64 = 1.10;

/// The same of instructions, which are nearly the same each time.
const DROWNED_COUNT: f64 = 1.02;

/// What was measured, put together.
pub struct Results {
    /// Calls, in order.
    pub calls: Vec<Call>,
    /// All figures.
    pub figures: Vec<Figure>,
    /// Growth with a number, for the chart.
    pub growth: Vec<Growth>,
}

/// What grows with what.
pub struct Growth {
    /// `buffers` or `processes`.
    pub over: &'static str,
    /// `reclaim` or `claim`.
    pub what: &'static str,
    /// Instructions or time (s).
    pub points: Vec<(f64, Spread)>,
    /// Whether `points` are instructions.
    pub instructions: bool,
}

/// Numbers of buffers and of processes.
pub const BUFFERS: [usize; 7] = [1, 10, 100, 1_000, 2_500, 5_000, 10_000];
/// The same of processes.
pub const PROCESSES: [usize; 4] = [1, 10, 100, 1_000];

fn growth(
    d: &Data,
    over: &'static str,
    what: &'static str,
    instructions: bool,
) -> Result<Growth, String> {
    let list: &[usize] = match over {
        "buffers" => &BUFFERS,
        _ => &PROCESSES,
    };
    let mut points = Vec::new();
    for n in list {
        let v = d.values(&format!("{over}/{n}/{what}"))?;
        let s = Spread::of(v);
        let f = 1e-9;
        let s = Spread {
            mid: s.mid * f,
            low: s.low * f,
            high: s.high * f,
        };
        points.push((*n as f64, s));
    }
    Ok(Growth {
        over,
        what,
        points,
        instructions,
    })
}

/// Cost of a buffer where there are many over that where there are few: 1 when the growth is
/// linear; 6 with a quadratic step.
fn bend(g: &Growth) -> f64 {
    let part = |low: f64, high: f64| {
        let v: Vec<(f64, f64)> = g
            .points
            .iter()
            .filter(|p| (low..=high).contains(&p.0))
            .map(|p| (p.0, p.1.mid))
            .collect();
        line(&v).0
    };
    part(2_500.0, 10_000.0) / part(100.0, 2_500.0)
}

fn scale(s: Spread, f: f64) -> Spread {
    Spread {
        mid: s.mid * f,
        low: s.low * f,
        high: s.high * f,
    }
}

/// The spread of a ratio a/b of medians, by turn.
fn by_turn(d: &Data, a: &str, b: &str) -> Result<Spread, String> {
    Ok(Spread::ratio(d.values(a)?, d.values(b)?))
}

/// Judges the data of the boot that measured time and of the one that counted instructions.
pub fn judge(time: &Data, insn: &Data) -> Result<Results, String> {
    let mut f = Vec::new();
    for (n, v) in &insn.known {
        // Interrupts are counted too.
        f.push(
            Figure::of(
                "clock",
                format!("loop of {n} instructions, counted"),
                "ratio",
                v / n,
            )
            .reaching(Target::Most(1.05)),
        );
    }
    let mut calls = Vec::new();
    for name in CALLS {
        let call = Call {
            name,
            instructions: Ratio::of(insn, name, median, median)?,
            // The lowest sample of a round is that in which the host did least else. Where code and
            // data of a module come to be is chance as well: on the emulated CPU pages that exclude
            // each other can double the time of a call until the module is loaded anew. One round in
            // four has luck, with either driver.
            time: Ratio::of(time, name, lowest, quartile)?,
        };
        let (i, t) = (&call.instructions, &call.time);
        for (r, unit, drowned) in [(i, "instructions", DROWNED_COUNT), (t, "time", DROWNED)] {
            f.push(r.judge(name, unit, drowned));
            f.push(Figure::of(
                "calls",
                format!("{name}: {unit}, noise"),
                "ratio",
                r.floor,
            ));
        }
        for (who, n, unit) in [
            ("Rust", i.rust, "instructions"),
            ("C", i.c, "instructions"),
            ("Rust", t.rust, "ns"),
            ("C", t.c, "ns"),
        ] {
            f.push(Figure::new(
                "calls",
                format!("{name}: {unit}, {who}"),
                unit,
                n,
            ));
        }
        calls.push(call);
    }

    // Section 7 of the design: the attributes.
    let p99 = |name: &str| -> Result<f64, String> { Ok(percentile(time.values(name)?, 99.0)) };
    let idle = p99("open_idle")?;
    let during = Spread::of(time.values("open_reclaim")?);
    f.push(
        Figure::of(
            "attributes",
            "p99 of open+close by others during mem_reclaim, over idle",
            "ratio",
            p99("open_reclaim")? / idle,
        )
        .reaching(Target::Most(2.0)),
    );
    f.push(
        Figure::of(
            "attributes",
            "longest open+close by others during mem_reclaim",
            "ms",
            during.high / 1e3,
        )
        .reaching(Target::Most(20.0)),
    );
    for (name, what) in [
        ("open_idle", "idle"),
        ("open_reclaim", "during mem_reclaim"),
        ("open_claim", "during mem_claim"),
        ("open_pageout", "during MADV_PAGEOUT by another process"),
    ] {
        let v = time.values(name)?;
        f.push(Figure::of(
            "attributes",
            format!("open+close {what}: median"),
            "us",
            median(v),
        ));
        f.push(Figure::of(
            "attributes",
            format!("open+close {what}: p99"),
            "us",
            percentile(v, 99.0),
        ));
        f.push(Figure::of(
            "attributes",
            format!("open+close {what}: longest"),
            "us",
            percentile(v, 100.0),
        ));
        f.push(Figure::of(
            "attributes",
            format!("open+close {what}: number"),
            "calls",
            v.len() as f64,
        ));
    }
    for (ours, theirs, name, least) in [
        (
            "mem_reclaim",
            "pageout",
            "mem_reclaim over MADV_PAGEOUT",
            1.6,
        ),
        (
            "mem_claim",
            "populate",
            "mem_claim over MADV_POPULATE_READ",
            1.2,
        ),
    ] {
        // What is measured is the cost of a byte.
        f.push(
            Figure::new(
                "attributes",
                format!("bytes a second: {name}"),
                "ratio",
                by_turn(time, theirs, ours)?,
            )
            .reaching(Target::Least(least)),
        );
        f.push(
            Figure::new(
                "attributes",
                format!("bytes an instruction: {name}"),
                "ratio",
                by_turn(insn, theirs, ours)?,
            )
            .reaching(Target::Least(least)),
        );
    }
    for (name, what) in [
        ("mem_reclaim", "mem_reclaim"),
        ("pageout", "MADV_PAGEOUT"),
        ("mem_claim", "mem_claim"),
        ("populate", "MADV_POPULATE_READ"),
    ] {
        let v: Vec<f64> = time
            .values(name)?
            .iter()
            .map(|ns| 1e9 / ns / (1 << 20) as f64)
            .collect();
        f.push(Figure::new(
            "attributes",
            format!("{what}, speed"),
            "MiB/s",
            Spread::of(&v),
        ));
        f.push(Figure::new(
            "attributes",
            format!("{what}, instructions for a page"),
            "instructions",
            scale(Spread::of(insn.values(name)?), 4096.0),
        ));
    }
    // Of every round: the worst counts.
    for (key, name, least) in [
        (
            "swapped_share",
            "swapped when mem_returns, of the target's bytes",
            0.98,
        ),
        (
            "freed_share",
            "growth of MemFree and zram, of the same bytes",
            0.95,
        ),
    ] {
        let s = Spread::of(time.values(key)?);
        let worst = Spread { mid: s.low, ..s };
        f.push(
            Figure::new(
                "attributes",
                name.replace("mem_returns", "mem_reclaim returns"),
                "share",
                worst,
            )
            .reaching(Target::Least(least)),
        );
    }
    f.push(Figure::new(
        "attributes",
        "what zram needs of the same bytes",
        "share",
        Spread::of(time.values("zram_share")?),
    ));

    // A process that is not the target.
    let idle = Spread::of(insn.values("others_cpu_idle")?);
    let cost = by_turn(insn, "others_cpu_reclaim", "others_cpu_idle")?;
    // Being scheduled costs something too: what the same does that has nothing to do with the GPU.
    let control = by_turn(insn, "others_cpu_pageout", "others_cpu_idle")?;
    let most = (control.high.max(1.0)) * (idle.high / idle.low);
    f.push(Figure::new("others", "instructions of a process that is not the target, beside a loop of reclaim and claim, over idle", "ratio", cost).reaching(Target::Most(most)));
    f.push(Figure::new(
        "others",
        "the same beside a loop of MADV_PAGEOUT and _POPULATE_READ",
        "ratio",
        control,
    ));
    // Instructions do not tell that somebody waits.
    let idle_time = Spread::of(time.values("others_idle")?);
    let control_time = by_turn(time, "others_pageout", "others_idle")?;
    let most = control_time.high.max(1.0) * (idle_time.high / idle_time.low);
    f.push(
        Figure::new(
            "others",
            "time of a process that is not the target, beside a loop of reclaim and claim, over idle",
            "ratio",
            by_turn(time, "others_reclaim", "others_idle")?,
        )
        .reaching(Target::Most(most)),
    );
    f.push(Figure::new(
        "others",
        "time, the same beside a loop of MADV_PAGEOUT and _POPULATE_READ",
        "ratio",
        control_time,
    ));
    f.push(Figure::new(
        "others",
        "instructions of a turn of its work, idle",
        "instructions",
        idle,
    ));

    let mut all = Vec::new();
    for (d, instructions, unit) in [(insn, true, "instructions"), (time, false, "time")] {
        for what in ["reclaim", "claim"] {
            let g = growth(d, "buffers", what, instructions)?;
            let b = Figure::of(
                "growth",
                format!("mem_{what}, {unit} of a buffer more: 2,500 to 10,000 over 100 to 2,500"),
                "ratio",
                bend(&g),
            );
            f.push(if instructions {
                b.reaching(Target::Most(1.5))
            } else {
                b
            });
            all.push(g);
            let g = growth(d, "processes", what, instructions)?;
            let (first, last) = (g.points[0].1, g.points[g.points.len() - 1].1);
            let b = Figure::new(
                "growth",
                format!("mem_{what}, {unit} with the device open in 1,000 processes over 1"),
                "ratio",
                scale(last, 1.0 / first.mid),
            );
            f.push(if instructions {
                b.reaching(Target::Most(1.05))
            } else {
                b
            });
            all.push(g);
        }
    }
    Ok(Results {
        calls,
        figures: f,
        growth: all,
    })
}

/// Targets met, and how many there are.
pub fn met(figures: &[Figure]) -> (usize, usize) {
    let all = figures.iter().filter_map(|f| f.met);
    (all.clone().filter(|m| *m).count(), all.count())
}

/// A figure that is not what it was.
#[derive(Debug)]
pub struct Change<'a> {
    /// As it is now.
    pub now: &'a Figure,
    /// As it was.
    pub then: &'a Figure,
}

/// What changed beyond the noise: the ranges do not overlap, and it is two percent or more. Where
/// there is one value only, its noise is not known, and nothing can be said.
pub fn changes<'a>(now: &'a [Figure], then: &'a [Figure]) -> Vec<Change<'a>> {
    now.iter()
        .filter_map(|n| {
            let t = then.iter().find(|t| t.name == n.name && t.unit == n.unit)?;
            let known = n.low < n.high && t.low < t.high;
            let apart = n.low > t.high || n.high < t.low;
            let far = (n.value - t.value).abs() >= 0.02 * t.value.abs();
            (known && apart && far).then_some(Change { now: n, then: t })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(name: &str, value: f64, low: f64, high: f64) -> Figure {
        Figure::new(
            "g",
            name,
            "u",
            Spread {
                mid: value,
                low,
                high,
            },
        )
    }

    #[test]
    fn targets() {
        let f = figure("a", 1.0, 0.5, 3.0);
        assert_eq!(f.clone().reaching(Target::Most(1.0)).met, Some(true));
        assert_eq!(f.clone().reaching(Target::Most(0.99)).met, Some(false));
        assert_eq!(f.clone().reaching(Target::Least(1.01)).met, Some(false));
        let all = [
            f.clone(),
            f.clone().reaching(Target::Least(1.0)),
            f.reaching(Target::Least(2.0)),
        ];
        assert_eq!(met(&all), (1, 2));
    }

    #[test]
    fn only_what_is_beyond_the_noise_changed() {
        let then = [
            figure("a", 1.0, 0.9, 1.1),
            figure("b", 1.0, 0.9, 1.1),
            figure("c", 1.0, 0.999, 1.001),
            figure("d", 1.0, 1.0, 1.0),
        ];
        let now = [
            figure("a", 1.3, 1.05, 1.5),
            figure("b", 2.0, 1.9, 2.1),
            figure("c", 1.01, 1.009, 1.011),
            figure("d", 2.0, 2.0, 2.0),
        ];
        let v = changes(&now, &then);
        assert_eq!(v.len(), 1);
        assert_eq!(v[0].now.name, "b");
    }

    #[test]
    fn a_bend_shows() {
        let make = |f: &dyn Fn(f64) -> f64| Growth {
            over: "buffers",
            what: "reclaim",
            instructions: true,
            points: BUFFERS
                .iter()
                .map(|n| {
                    (
                        *n as f64,
                        Spread {
                            mid: f(*n as f64),
                            low: 0.0,
                            high: 0.0,
                        },
                    )
                })
                .collect(),
        };
        assert!((bend(&make(&|n| 7.0 + 3.0 * n)) - 1.0).abs() < 1e-9);
        assert!(bend(&make(&|n| 7.0 + 3.0 * n * n)) > 4.0);
    }

    /// Rounds in which C takes one of `c` and ours `rust`, and C once more.
    fn rounds(c: &[f64], rust: f64) -> Ratio {
        let mut s = String::new();
        for c in c {
            s += &format!("call c 0 f {c}\ncall rust 0 f {rust}\n");
        }
        s += &format!("call c 0 f {}\nend", c[0]);
        Ratio::of(&Data::parse(&s).unwrap(), "f", lowest, quartile).unwrap()
    }

    #[test]
    fn noise_is_what_c_differs_from_itself() {
        let r = rounds(&[8.0, 10.0, 9.0, 8.5, 11.0, 8.2], 8.05);
        assert!(r.floor > 1.1, "{}", r.floor);
        // Too much of it to say anything: not met, although the ratio is below 1.
        assert!(r.ratio.mid < 1.0);
        assert_eq!(r.judge("f", "time", DROWNED).met, Some(false));
        // But what is so much below it is below it.
        let less = rounds(&[8.0, 10.0, 9.0, 8.5, 11.0, 8.2], 6.0);
        assert_eq!(less.judge("f", "time", DROWNED).met, Some(true));
        // The more rounds, the less of it.
        let many = rounds(&[8.0, 10.0, 9.0, 8.5, 11.0, 8.2].repeat(20), 8.05);
        assert!(many.floor - 1.0 < (r.floor - 1.0) / 2.0);
    }

    #[test]
    fn who_is_unlucky_more_often_is_slower() {
        let judge = |unlucky: usize| {
            let mut s = String::new();
            for i in 0..32 {
                let rust = if i % 4 < unlucky { 200 } else { 99 };
                let c = if i % 4 < 1 { 200 } else { 100 };
                s += &format!("call c 0 f {c}\ncall rust 0 f {rust}\n");
            }
            s += "call c 0 f 100\nend";
            let r = Ratio::of(&Data::parse(&s).unwrap(), "f", lowest, quartile).unwrap();
            r.judge("f", "time", DROWNED).met
        };
        assert_eq!(
            (judge(1), judge(2), judge(3)),
            (Some(true), Some(false), Some(false))
        );
    }

    #[test]
    fn a_ratio_up_to_the_noise_is_met() {
        // A round in four that has no luck changes nothing.
        let c = [100.0, 101.0, 102.0, 180.0].repeat(8);
        for (rust, met) in [(90.0, true), (101.0, true), (104.0, false)] {
            let r = rounds(&c, rust);
            assert_eq!(r.judge("f", "time", DROWNED).met, Some(met), "{rust}");
        }
        let r = rounds(&[100.0, 104.0].repeat(8), 103.0);
        assert_eq!(r.judge("f", "instructions", DROWNED_COUNT).met, Some(false));
        assert_eq!(rounds(&[1.0], 1.0).floor, RESOLUTION);
        let d = Data::parse("call c 0 f 1\ncall rust 0 f 1\nend").unwrap();
        assert!(Ratio::of(&d, "f", median, median).is_err());
    }
}
