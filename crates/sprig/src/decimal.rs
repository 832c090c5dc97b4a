//! Decimal arithmetic, as shopspring/decimal does it: exact, but for division, which keeps 16 digits after the point.

use gotemplate::number;
use num_bigint::BigInt;

/// `value * 10^exponent`
#[derive(Clone)]
pub(crate) struct Decimal {
    value: BigInt,
    exponent: i32,
}

const DIVISION_DIGITS: i32 = 16;

impl Decimal {
    /// The decimal that is the shortest text of a float; `None` for what is not finite.
    pub fn from_float(value: f64) -> Option<Self> {
        if !value.is_finite() {
            return None;
        }
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e')?;
        let fraction = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i32);
        let value = mantissa.replace('.', "").parse().ok()?;
        Some(Self { value, exponent: exponent.parse::<i32>().ok()? - fraction })
    }

    pub fn to_float(&self) -> f64 {
        number::parse_float(&format!("{}e{}", self.value, self.exponent)).unwrap_or(f64::INFINITY)
    }

    fn scaled(&self, exponent: i32) -> BigInt {
        &self.value * BigInt::from(10).pow(self.exponent.saturating_sub(exponent).max(0).unsigned_abs())
    }

    fn aligned(&self, other: &Self, operation: fn(BigInt, BigInt) -> BigInt) -> Self {
        let exponent = self.exponent.min(other.exponent);
        Self { value: operation(self.scaled(exponent), other.scaled(exponent)), exponent }
    }

    pub fn add(&self, other: &Self) -> Self {
        self.aligned(other, |a, b| a + b)
    }

    pub fn sub(&self, other: &Self) -> Self {
        self.aligned(other, |a, b| a - b)
    }

    pub fn mul(&self, other: &Self) -> Self {
        Self { value: &self.value * &other.value, exponent: self.exponent.saturating_add(other.exponent) }
    }

    /// Rounds half away from zero. The divisor is not zero.
    pub fn div(&self, other: &Self) -> Self {
        let exponent = -DIVISION_DIGITS;
        let shift = self.exponent - other.exponent - exponent;
        let scale = BigInt::from(10).pow(shift.unsigned_abs());
        let (top, bottom) =
            if shift >= 0 { (&self.value * scale, other.value.clone()) } else { (self.value.clone(), &other.value * scale) };
        let quotient = &top / &bottom;
        let remainder = &top - &quotient * &bottom;
        let twice: BigInt = remainder * 2;
        let away = twice.magnitude() >= bottom.magnitude();
        let negative = (top.sign() == num_bigint::Sign::Minus) != (bottom.sign() == num_bigint::Sign::Minus);
        let value = if away { quotient + if negative { -1 } else { 1 } } else { quotient };
        Self { value, exponent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_and_quotients_rounded() {
        let decimal = |value| Decimal::from_float(value).unwrap();
        assert_eq!(decimal(1.5).add(&decimal(2.0)).add(&decimal(0.1)).to_float(), 3.6);
        assert_eq!(decimal(0.1).add(&decimal(0.2)).to_float(), 0.3);
        assert_eq!(decimal(1.0).div(&decimal(3.0)).to_float(), 0.3333333333333333);
        assert_eq!(decimal(10.0).div(&decimal(4.0)).div(&decimal(2.0)).to_float(), 1.25);
        assert_eq!(decimal(1e300).mul(&decimal(1e300)).to_float(), f64::INFINITY);
    }
}
