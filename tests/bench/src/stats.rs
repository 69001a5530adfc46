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

/// The value below which a quarter of them are.
pub fn quartile(v: &[f64]) -> f64 {
    percentile(v, 25.0)
}

/// What the ratio of `of(a)` to `of(b)` might have been as well: of 2,000 pairs of samples, each as large
/// as its original and drawn from it with repetition, in order. The same for the same values.
pub fn resampled_ratios(a: &[f64], b: &[f64], of: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    const TIMES: usize = 2000;
    // SplitMix64.
    let mut state = 0u64;
    let mut random = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize
    };
    let mut drawn = Vec::new();
    let mut draw = |v: &[f64]| {
        drawn.clear();
        drawn.extend((0..v.len()).map(|_| v[random() % v.len()]));
        of(&drawn)
    };
    let mut ratios: Vec<f64> = (0..TIMES).map(|_| draw(a) / draw(b)).collect();
    ratios.sort_by(f64::total_cmp);
    ratios
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
    fn resampling_shows_the_spread() {
        let same = [5.0; 8];
        assert!(resampled_ratios(&same, &same, median)
            .iter()
            .all(|r| *r == 1.0));
        let few: Vec<f64> = (0..8).map(|i| 100.0 + f64::from(i)).collect();
        let many: Vec<f64> = (0..64).map(|i| 100.0 + f64::from(i % 8)).collect();
        let width = |v: &[f64]| {
            let r = resampled_ratios(v, v, quartile);
            assert_eq!(r, resampled_ratios(v, v, quartile));
            percentile(&r, 99.0) - percentile(&r, 1.0)
        };
        assert!(width(&many) > 0.0 && width(&many) < width(&few) / 1.5);
    }

    #[test]
    fn lines() {
        let (slope, offset) = line(&[(0.0, 1.0), (1.0, 3.0), (3.0, 7.0)]);
        assert!((slope - 2.0).abs() < 1e-9 && (offset - 1.0).abs() < 1e-9);
    }
}
