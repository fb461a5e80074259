//! Choosing one of several: in turn, in turn by weight, or by a random point. Numbers and points come from the caller.

/// 65535: the largest weight a person may give an instance.
pub const WEIGHT_MAX: u32 = 65_535;

/// The index that the `number`-th choice falls on when each has its turn; `None` when there is nothing to choose from.
#[must_use]
pub fn round_robin(number: u64, count: usize) -> Option<usize> {
    let count = u64::try_from(count).ok().filter(|count| *count > 0)?;
    usize::try_from(number % count).ok()
}

/// The index that the `number`-th choice falls on when each has its turns in proportion to its weight, spread as evenly
/// as can be (the smooth weighted round robin of nginx). `None` when no weight is above 0.
///
/// Costs the number's rest by the sum of the weights (reduced by what all have in common), times their count; so a weight
/// counts for at most [`WEIGHT_MAX`].
#[must_use]
pub fn weighted_round_robin(number: u64, weights: &[u32]) -> Option<usize> {
    let weights = weights.iter().map(|weight| (*weight).min(WEIGHT_MAX));
    let common = weights.clone().fold(0, gcd);
    if common == 0 {
        return None;
    }
    let weights: Vec<i64> = weights.map(|weight| i64::from(weight / common)).collect();
    let sum: i64 = weights.iter().sum();
    let mut due = vec![0_i64; weights.len()];
    let mut chosen = 0;
    for _ in 0..=number % sum.unsigned_abs() {
        for (due, weight) in due.iter_mut().zip(&weights) {
            *due += weight;
        }
        // The first of the most overdue.
        chosen = (0..due.len()).rev().max_by_key(|at| due[*at])?;
        due[chosen] -= sum;
    }
    Some(chosen)
}

/// The index that a random point falls on when each has a share in proportion to its weight. `None` when no weight is
/// above 0.
#[must_use]
pub fn weighted(point: u64, weights: &[u32]) -> Option<usize> {
    let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    // The point as a share of all points, so that each weight has the same number of them but for one.
    let scaled = (u128::from(point) * u128::from(sum)) >> 64;
    let mut rest = u64::try_from(scaled).ok()?;
    weights.iter().position(|weight| {
        let hit = rest < u64::from(*weight);
        rest = rest.saturating_sub(u64::from(*weight));
        hit
    })
}

const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_to_choose_from() {
        assert_eq!(round_robin(3, 0), None);
        for weights in [&[][..], &[0, 0]] {
            assert_eq!(weighted_round_robin(3, weights), None);
            assert_eq!(weighted(3, weights), None);
        }
    }

    #[test]
    fn turns_are_spread() {
        let turns = |weights: &[u32]| {
            (0..7)
                .map(|number| weighted_round_robin(number, weights).unwrap())
                .collect::<Vec<_>>()
        };
        // The example nginx gives for its own.
        assert_eq!(turns(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(turns(&[100, 0, 100]), [0, 2, 0, 2, 0, 2, 0]);
    }

    proptest! {
        #[test]
        fn each_has_its_share_of_turns(weights in proptest::collection::vec(0_u32..20, 1..6), from in 0_u64..1_000) {
            let sum: u32 = weights.iter().sum();
            prop_assume!(sum > 0);
            let mut turns = vec![0_u32; weights.len()];
            // Any stretch as long as the sum is a rotation of one round.
            for number in from..from + u64::from(sum) {
                turns[weighted_round_robin(number, &weights).unwrap()] += 1;
            }
            prop_assert_eq!(turns, weights);
        }

        #[test]
        fn in_turn(count in 1_usize..9, from in 0_u64..1_000) {
            let mut turns = vec![0; count];
            for number in from..from + count as u64 {
                turns[round_robin(number, count).unwrap()] += 1;
            }
            prop_assert_eq!(turns, vec![1; count]);
        }

        #[test]
        fn each_has_its_share_of_points(weights in proptest::collection::vec(0_u32..1_000, 1..6)) {
            let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
            prop_assume!(sum > 0);
            let mut shares = vec![0_u64; weights.len()];
            for slot in 0..sum {
                // The middle of each slot.
                let point = u64::try_from((u128::from(2 * slot + 1) << 63) / u128::from(sum)).unwrap();
                shares[weighted(point, &weights).unwrap()] += 1;
            }
            let wanted: Vec<u64> = weights.iter().map(|weight| u64::from(*weight)).collect();
            prop_assert_eq!(shares, wanted);
        }

        #[test]
        fn every_point_falls_on_somebody_with_a_weight(point: u64, weights in proptest::collection::vec(any::<u32>(), 1..6)) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            prop_assert!(weights[weighted(point, &weights).unwrap()] > 0);
        }
    }
}
