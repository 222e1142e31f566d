//! RSA signing with keys of any size: rustls' providers sign with 2,048 to 4,096 bits only, and a
//! server with a weak or an oversized key is what a test wants to show to a probe.
//!
//! Slow, not constant-time, and for the throw-away keys in `data/` only.

use ring::digest;

use crate::pki::der;

/// A non-negative integer, 64-bit limbs, least significant first.
type Limbs = Vec<u64>;

/// A private key with its parts as in RFC 8017, A.1.2.
#[derive(Clone)]
pub(crate) struct Private {
    pub(crate) modulus: Vec<u8>,
    pub(crate) public_exponent: Vec<u8>,
    /// `p`, `q`, `d mod p-1`, `d mod q-1`, `1/q mod p`; none where the private exponent is 1.
    factors: Option<[Vec<u8>; 5]>,
    pkcs1: Vec<u8>,
}

impl std::fmt::Debug for Private {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rsa({} bits)", self.modulus.len() * 8)
    }
}

impl Private {
    /// From the PEM of a `RSAPrivateKey`.
    pub(crate) fn from_pem(text: &str) -> Self {
        let pkcs1 = der::unpem(text);
        let (_, mut rest, _) = der::open(&pkcs1);
        let mut numbers = Vec::new();
        while !rest.is_empty() {
            let (_, number, behind) = der::open(rest);
            numbers.push(number.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>());
            rest = behind;
        }
        let [_, modulus, public_exponent, _, factors @ ..] = &numbers[..] else {
            panic!("no RSA private key");
        };
        Self {
            modulus: modulus.clone(),
            public_exponent: public_exponent.clone(),
            factors: Some(factors.to_vec().try_into().expect("five numbers")),
            pkcs1,
        }
    }

    /// The key with this modulus and the exponent 1, whose signature is the padded hash itself.
    pub(crate) fn exponent_one(&self) -> Self {
        Self {
            modulus: self.modulus.clone(),
            public_exponent: vec![1],
            factors: None,
            pkcs1: Vec::new(),
        }
    }

    pub(crate) fn pkcs1(&self) -> &[u8] {
        &self.pkcs1
    }

    pub(crate) fn length(&self) -> usize {
        self.modulus.len()
    }

    /// RSASSA-PKCS1-v1_5 (RFC 8017, 8.2.1) with this prefix and hash.
    pub(crate) fn sign_pkcs1(&self, digest_info: &[u8], hash: &[u8]) -> Vec<u8> {
        let content = [&[0], digest_info, hash].concat();
        let fill = self.length().saturating_sub(content.len() + 2);
        self.raw(&[&[0, 1][..], &vec![0xff; fill], &content].concat())
    }

    /// RSASSA-PSS (RFC 8017, 8.1.1) with a zero salt as long as the hash, or `None` where the key is
    /// too short for that.
    pub(crate) fn sign_pss(
        &self,
        algorithm: &'static digest::Algorithm,
        message: &[u8],
    ) -> Option<Vec<u8>> {
        let hash = digest::digest(algorithm, message);
        let length = algorithm.output_len();
        let salt = vec![0; length];
        // The keys in use all have a full top byte, so the encoded message is as long as they are.
        let fill = self.length().checked_sub(2 * length + 2)?;
        let inner = digest::digest(algorithm, &[&[0; 8], hash.as_ref(), &salt].concat());
        let mut masked = [&vec![0; fill][..], &[1], &salt].concat();
        let mut mask = Vec::new();
        for counter in 0_u32.. {
            if mask.len() >= masked.len() {
                break;
            }
            let block = [inner.as_ref(), &counter.to_be_bytes()].concat();
            mask.extend_from_slice(digest::digest(algorithm, &block).as_ref());
        }
        masked.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        masked[0] &= 0x7f;
        Some(self.raw(&[&masked, inner.as_ref(), &[0xbc]].concat()))
    }

    /// The private operation (RFC 8017, 5.2.1) with the Chinese remainder.
    fn raw(&self, message: &[u8]) -> Vec<u8> {
        let Some([p, q, dp, dq, inverse]) = &self.factors else { return message.to_vec() };
        let message = limbs(message);
        let (p, q) = (Field::new(limbs(p)), Field::new(limbs(q)));
        let first = p.power(&p.reduce(&message), &limbs(dp));
        let second = q.power(&q.reduce(&message), &limbs(dq));
        let difference = p.subtract(&first, &p.reduce(&second));
        let factor = p.multiply(&difference, &p.reduce(&limbs(inverse)));
        bytes(&add(&second, &multiply(&factor, &q.modulus)), self.length())
    }
}

fn limbs(bytes: &[u8]) -> Limbs {
    bytes
        .rchunks(8)
        .map(|part| part.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
        .collect()
}

fn bytes(number: &[u64], length: usize) -> Vec<u8> {
    let mut out: Vec<u8> = number.iter().flat_map(|limb| limb.to_le_bytes()).collect();
    out.resize(length, 0);
    out.reverse();
    out
}

fn multiply(a: &[u64], b: &[u64]) -> Limbs {
    let mut out = vec![0; a.len() + b.len()];
    for (i, x) in a.iter().enumerate() {
        let mut carry = 0;
        for (j, y) in b.iter().enumerate() {
            let sum = u128::from(*x) * u128::from(*y) + u128::from(out[i + j]) + carry;
            out[i + j] = sum as u64;
            carry = sum >> 64;
        }
        out[i + b.len()] = carry as u64;
    }
    out
}

fn add(a: &[u64], b: &[u64]) -> Limbs {
    let mut carry = false;
    let limb = |number: &[u64], index| number.get(index).copied().unwrap_or(0);
    (0..a.len().max(b.len()))
        .map(|index| {
            let (sum, first) = limb(a, index).overflowing_add(limb(b, index));
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            carry = first | second;
            sum
        })
        .collect()
}

/// Arithmetic modulo an odd number, in Montgomery form inside.
struct Field {
    modulus: Limbs,
    /// `-1/modulus` modulo a limb.
    negative_inverse: u64,
    /// `R * R` modulo the modulus, `R` being one limb more than the modulus can hold.
    r_squared: Limbs,
}

impl Field {
    fn new(modulus: Limbs) -> Self {
        // Newton's iteration doubles the number of right bits each time.
        let inverse = (0..6).fold(1_u64, |inverse, _| {
            inverse.wrapping_mul(2_u64.wrapping_sub(modulus[0].wrapping_mul(inverse)))
        });
        let mut field =
            Self { r_squared: Vec::new(), negative_inverse: inverse.wrapping_neg(), modulus };
        let mut power = vec![0; field.modulus.len()];
        power[0] = 1;
        for _ in 0..128 * field.modulus.len() {
            power = field.double(power, 0);
        }
        field.r_squared = power;
        field
    }

    fn subtract_if_larger(&self, number: &mut [u64], overflow: bool) {
        let larger = overflow || number.iter().rev().ge(self.modulus.iter().rev());
        if larger {
            let mut borrow = false;
            for (limb, part) in number.iter_mut().zip(&self.modulus) {
                let (rest, first) = limb.overflowing_sub(*part);
                let (rest, second) = rest.overflowing_sub(u64::from(borrow));
                (*limb, borrow) = (rest, first | second);
            }
        }
    }

    /// `2 * number + bit`.
    fn double(&self, mut number: Limbs, bit: u64) -> Limbs {
        let mut carry = bit;
        for limb in &mut number {
            (*limb, carry) = (*limb << 1 | carry, *limb >> 63);
        }
        self.subtract_if_larger(&mut number, carry == 1);
        number
    }

    fn reduce(&self, number: &[u64]) -> Limbs {
        let bits =
            number.iter().rev().flat_map(|limb| (0..64).rev().map(move |bit| limb >> bit & 1));
        bits.fold(vec![0; self.modulus.len()], |rest, bit| self.double(rest, bit))
    }

    fn subtract(&self, a: &[u64], b: &[u64]) -> Limbs {
        let mut complement = self.modulus.clone();
        let mut borrow = false;
        for (limb, part) in complement.iter_mut().zip(b) {
            let (rest, first) = limb.overflowing_sub(*part);
            let (rest, second) = rest.overflowing_sub(u64::from(borrow));
            (*limb, borrow) = (rest, first | second);
        }
        let mut padded = a.to_vec();
        padded.push(0);
        self.reduce(&add(&padded, &complement))
    }

    /// `a * b / R` (Montgomery).
    fn montgomery(&self, a: &[u64], b: &[u64]) -> Limbs {
        let size = self.modulus.len();
        let mut sum = vec![0_u64; size + 2];
        for x in a {
            let mut carry = 0;
            for (limb, y) in sum.iter_mut().zip(b) {
                let next = u128::from(*x) * u128::from(*y) + u128::from(*limb) + carry;
                (*limb, carry) = (next as u64, next >> 64);
            }
            let top = u128::from(sum[size]) + carry;
            (sum[size], sum[size + 1]) = (top as u64, (top >> 64) as u64);
            let factor = sum[0].wrapping_mul(self.negative_inverse);
            let mut carry =
                (u128::from(factor) * u128::from(self.modulus[0]) + u128::from(sum[0])) >> 64;
            for index in 1..size {
                let next = u128::from(factor) * u128::from(self.modulus[index])
                    + u128::from(sum[index])
                    + carry;
                (sum[index - 1], carry) = (next as u64, next >> 64);
            }
            let top = u128::from(sum[size]) + carry;
            (sum[size - 1], sum[size]) = (top as u64, sum[size + 1] + (top >> 64) as u64);
        }
        let overflow = sum[size] != 0;
        sum.truncate(size);
        self.subtract_if_larger(&mut sum, overflow);
        sum
    }

    fn multiply(&self, a: &[u64], b: &[u64]) -> Limbs {
        self.montgomery(&self.montgomery(a, &self.r_squared), b)
    }

    fn power(&self, base: &[u64], exponent: &[u64]) -> Limbs {
        let mut one = vec![0; self.modulus.len()];
        one[0] = 1;
        let base = self.montgomery(base, &self.r_squared);
        let mut powers = vec![self.montgomery(&one, &self.r_squared)];
        for index in 0..15_usize {
            powers.push(self.montgomery(&powers[index], &base));
        }
        let digits = exponent
            .iter()
            .rev()
            .flat_map(|limb| (0..16).rev().map(move |place| limb >> (4 * place) & 15));
        let result = digits.fold(powers[0].clone(), |result, digit| {
            let result = (0..4).fold(result, |result, _| self.montgomery(&result, &result));
            if digit == 0 { result } else { self.montgomery(&result, &powers[digit as usize]) }
        });
        self.montgomery(&result, &one)
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{self, UnparsedPublicKey};

    use crate::pki::key::Key;

    #[test]
    fn rings_verifier_takes_the_signatures() {
        // ring verifies from 1,024 bits ("for legacy use only") to 8,192.
        for bits in [1024, 2048, 4096, 8192] {
            let key = Key::rsa(bits);
            let message = b"signed";
            let public = key.public_key_bits();
            let pkcs1: &dyn signature::VerificationAlgorithm = if bits == 1024 {
                &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY
            } else {
                &signature::RSA_PKCS1_2048_8192_SHA256
            };
            let signed = key.sign(crate::pki::SigAlg::RsaSha256, message);
            UnparsedPublicKey::new(pkcs1, &public).verify(message, &signed).unwrap();
            if bits > 1024 {
                let signed = key.sign(crate::pki::SigAlg::RsaPssSha256, message);
                let pss = &signature::RSA_PSS_2048_8192_SHA256;
                UnparsedPublicKey::new(pss, &public).verify(message, &signed).unwrap();
            }
        }
    }
}
