// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Medians and their spread.

/// The value below which `p` percent of them are; 0 of none.
pub fn percentile(v: &[f64], p: f64) -> f64 {
    let mut v = v.to_vec();
    v.sort_by(f64::total_cmp);
    match v.len() {
        0 => 0.0,
        n => {
            let at = (n - 1) as f64 * p / 100.0;
            let (low, high) = (at.floor() as usize, at.ceil() as usize);
            v[low] + (v[high] - v[low]) * (at - low as f64)
        }
    }
}

/// The median.
pub fn median(v: &[f64]) -> f64 {
    percentile(v, 50.0)
}

/// The lowest value.
pub fn lowest(v: &[f64]) -> f64 {
    percentile(v, 0.0)
}

/// A median with the range of what it is the median of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// Median.
    pub mid: f64,
    /// Lowest.
    pub low: f64,
    /// Highest.
    pub high: f64,
}

impl Spread {
    /// Of some values.
    pub fn of(v: &[f64]) -> Spread {
        Spread {
            mid: median(v),
            low: percentile(v, 0.0),
            high: percentile(v, 100.0),
        }
    }

    /// Of the ratios of the values of `a` to those of `b` that were measured at the same turn.
    pub fn ratio(a: &[f64], b: &[f64]) -> Spread {
        let v: Vec<f64> = a.iter().zip(b).map(|(a, b)| a / b).collect();
        Spread::of(&v)
    }
}

/// Slope and offset of the straight line that fits best.
pub fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len() as f64;
    let (sx, sy) = points
        .iter()
        .fold((0.0, 0.0), |a, p| (a.0 + p.0, a.1 + p.1));
    let (mx, my) = (sx / n, sy / n);
    let (xy, xx) = points.iter().fold((0.0, 0.0), |a, p| {
        (a.0 + (p.0 - mx) * (p.1 - my), a.1 + (p.0 - mx) * (p.0 - mx))
    });
    let slope = if xx == 0.0 { 0.0 } else { xy / xx };
    (slope, my - slope * mx)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let v: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!((percentile(&v, 99.0), median(&v)), (99.0, 50.0));
        assert_eq!(median(&[1.0, 2.0]), 1.5);
        assert_eq!(percentile(&[], 50.0), 0.0);
    }

    #[test]
    fn ratios_are_of_the_same_turn() {
        let s = Spread::ratio(&[2.0, 20.0, 9.0], &[1.0, 10.0, 3.0]);
        assert_eq!((s.mid, s.low, s.high), (2.0, 2.0, 3.0));
    }

    #[test]
    fn lines() {
        let (slope, offset) = line(&[(0.0, 1.0), (1.0, 3.0), (3.0, 7.0)]);
        assert!((slope - 2.0).abs() < 1e-9 && (offset - 1.0).abs() < 1e-9);
    }
}
