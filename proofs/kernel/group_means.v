(* Rewards of one group: leave-one-out, mean-centring, and the average over pairs.
   Every group size G >= 2, written n.+2; any field of characteristic zero with an order, such as the rationals. *)
From mathcomp Require Import all_ssreflect ssralg ssrnum ring.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Numbers.
Variable F : numFieldType.

Lemma natr_succ k : k.+1%:R = 1 + k%:R :> F.
Proof. by rewrite -[k.+1]add1n natrD. Qed.

Lemma natr_succ_neq0 k : (1 + k%:R : F) != 0.
Proof. by rewrite -natr_succ pnatr_eq0. Qed.

Lemma natr_succ2_neq0 k : (1 + (1 + k%:R) : F) != 0.
Proof. by rewrite -!natr_succ pnatr_eq0. Qed.

(* A sum over all ordered pairs of something symmetric that vanishes on the diagonal counts each pair twice. *)
Lemma sum_ordered_pairs m (f : 'I_m -> 'I_m -> F) :
  (forall i j, f i j = f j i) -> (forall i, f i i = 0) ->
  \sum_i \sum_j f i j = 2%:R * \sum_(i < m) \sum_(j < m | (i < j)%N) f i j.
Proof.
move=> symmetric diagonal.
have above : \sum_(i < m) \sum_(j < m | (j < i)%N) f i j = \sum_(i < m) \sum_(j < m | (i < j)%N) f i j.
  rewrite (exchange_big_dep xpredT) //=; apply: eq_bigr => i _; apply: eq_bigr => j _; exact: symmetric.
have split i : \sum_j f i j = \sum_(j < m | (i < j)%N) f i j + \sum_(j < m | (j < i)%N) f i j.
  rewrite (bigID (fun j : 'I_m => (i < j)%N)) /=; congr (_ + _).
  rewrite (bigD1 i) ?ltnn //= diagonal add0r; apply: eq_bigl => j.
  by rewrite -leqNgt ltn_neqAle andbC.
under eq_bigr do rewrite split.
by rewrite big_split /= above mulr_natl mulr2n.
Qed.
End Numbers.

Section Group.
Variables (F : numFieldType) (n : nat).
Notation G := n.+2.
Implicit Types r s : 'I_G -> F.

Definition mean r := (\sum_j r j) / G%:R.
Definition leave_one_out r i := r i - (\sum_(j | j != i) r j) / n.+1%:R.
Definition centred r i := r i - mean r.

(* The estimate of one group: the mean of advantage times score; s is one entry of the score. *)
Definition estimate (advantage : 'I_G -> F) s := (\sum_i advantage i * s i) / G%:R.
Definition rloo r s := estimate (leave_one_out r) s.

Lemma sum_all r i : \sum_j r j = r i + \sum_(j | j != i) r j.
Proof. by rewrite (bigD1 i). Qed.

(* B1, factor *)
Theorem leave_one_out_is_scaled_centring r i : leave_one_out r i = G%:R / n.+1%:R * (r i - mean r).
Proof.
rewrite /leave_one_out /mean (sum_all r i) !natr_succ.
by field; rewrite natr_succ_neq0 natr_succ2_neq0.
Qed.

(* A6, balance: with the group's mean as the baseline all weights sum to zero *)
Theorem centred_sums_to_zero r : \sum_i centred r i = 0.
Proof.
rewrite /centred sumrB sumr_const card_ord -mulr_natl /mean mulrC divfK ?subrr //.
by rewrite pnatr_eq0.
Qed.

(* B1, a consequence: the advantages of a group sum to zero *)
Theorem leave_one_out_sums_to_zero r : \sum_i leave_one_out r i = 0.
Proof.
under eq_bigr do rewrite leave_one_out_is_scaled_centring.
by rewrite -mulr_sumr; have := centred_sums_to_zero r; rewrite /centred => ->; rewrite mulr0.
Qed.

(* B3a, the lemma: the sum over pairs in the three sums of the group *)
Theorem pair_sum r s :
  \sum_(i < G) \sum_(j < G | (i < j)%N) (r i - r j) * (s i - s j)
  = G%:R * (\sum_i r i * s i) - (\sum_i r i) * (\sum_i s i).
Proof.
set R := \sum_i r i; set S := \sum_i s i; set T := \sum_i r i * s i.
have row i : \sum_j (r i - r j) * (s i - s j) = G%:R * (r i * s i) - r i * S - s i * R + T.
  have expand j : (r i - r j) * (s i - s j) = r i * s i - r i * s j - s i * r j + r j * s j by ring.
  under eq_bigr do rewrite expand.
  rewrite !big_split /= sumr_const card_ord !sumrN -!mulr_sumr -/R -/S -/T.
  by rewrite -[(r i * s i) *+ _]mulr_natl.
have two0 : (2%:R : F) != 0 by rewrite pnatr_eq0.
apply: (mulfI two0).
rewrite -(@sum_ordered_pairs F G (fun i j => (r i - r j) * (s i - s j))); first last.
- by move=> i; rewrite subrr mul0r.
- by move=> i j; ring.
under eq_bigr do rewrite row.
rewrite !big_split /= !sumrN -!mulr_suml sumr_const card_ord -mulr_sumr -/R -/S -/T -[T *+ _]mulr_natl.
by ring.
Qed.

(* B3a *)
Theorem rloo_is_average_over_pairs r s :
  rloo r s = (\sum_(i < G) \sum_(j < G | (i < j)%N) (r i - r j) * (s i - s j) / 2%:R) / 'C(G, 2)%:R.
Proof.
under [in RHS]eq_bigr do rewrite -mulr_suml.
rewrite -mulr_suml pair_sum.
have binomial : ('C(G, 2)%:R : F) = G%:R * n.+1%:R / 2%:R.
  have diagonal : (G * n.+1 = 2 * 'C(G, 2))%N by rewrite -(mul_bin_diag G 1) bin1.
  by rewrite -natrM diagonal natrM mulrC mulKf // pnatr_eq0.
rewrite binomial /rloo /estimate.
under eq_bigr do rewrite leave_one_out_is_scaled_centring -[_ * _ * s _]mulrA mulrBl.
rewrite -mulr_sumr sumrB -mulr_sumr /mean !natr_succ.
set T := \sum_i _ * _; set R := \sum_j _; set S := \sum_i _.
by field; rewrite natr_succ_neq0 natr_succ2_neq0.
Qed.
End Group.
