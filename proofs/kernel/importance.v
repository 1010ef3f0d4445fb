(* Weights of rollouts that another policy drew: the whole weight is unbiased, a truncated one is not. *)
From mathcomp Require Import all_ssreflect ssralg ssrnum rat ring.
From Gradvar Require Import inequalities.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.Theory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Truncated.
(* The policy's chances p, the sampler's m, rewards r, one entry of the score s; the weight is min(p / m, C). *)
Variables (F : realFieldType) (T : finType) (p m r s : T -> F).
Hypothesis sampler_reaches_all : forall y, 0 < m y.

Definition gradient := \sum_y p y * (r y * s y).
Definition whole_update := \sum_y m y * (p y / m y * (r y * s y)).
Definition truncated_update C := \sum_y m y * (Num.min (p y / m y) C * (r y * s y)).

Let m0 y : m y != 0. Proof. exact: lt0r_neq0. Qed.

(* R1, without a cap *)
Theorem whole_weight_is_unbiased : whole_update = gradient.
Proof. by apply: eq_bigr => y _; rewrite mulrA mulrC [m y * _]mulrC divfK // mulrC. Qed.

(* R1, bias: what is missing is the sum over the answers above the cap *)
Theorem truncated_weight_has_this_bias C :
  truncated_update C = gradient - \sum_(y | C * m y < p y) (p y - C * m y) * (r y * s y).
Proof.
rewrite /truncated_update /gradient [X in _ = _ - X]big_mkcond -sumrB; apply: eq_bigr => y _.
case: ifP => above.
  rewrite min_r; first by ring.
  by rewrite below_quotient // ltW.
rewrite min_l; first by field.
by rewrite quotient_below // leNgt above.
Qed.

(* R1, cap out of reach *)
Theorem unreached_cap_is_unbiased C : (forall y, p y <= C * m y) -> truncated_update C = gradient.
Proof.
move=> below; rewrite truncated_weight_has_this_bias big_pred0 ?subr0 // => y.
by rewrite ltNge below.
Qed.
End Truncated.

(* R1, the witness: two answers, m = (9/10, 1/10), p = (1/2, 1/2), rewards 0 and 1, C = 2; the score is that of the
   rewarded answer's logit. The gradient is 1/4, the truncated mean 1/10. *)
Theorem truncated_weight_is_biased :
  let p (y : bool) : rat := 1 / 2%:R in
  let m (y : bool) : rat := if y then 1 / 10%:R else 9%:R / 10%:R in
  let r (y : bool) : rat := if y then 1 else 0 in
  let s (y : bool) : rat := (if y then 1 else 0) - p true in
  gradient p r s = 1 / 4%:R /\ truncated_update p m r s 2%:R = 1 / 10%:R.
Proof. by split; rewrite /gradient /truncated_update big_bool; vm_compute; apply/eqP. Qed.
