(* The projection of the pair kernel of leave-one-out, as printed and corrected. *)
From mathcomp Require Import all_ssreflect ssralg ssrnum rat ring.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Projection.
Variables (F : numFieldType) (T : finType) (p r s : T -> F).
Hypothesis chances_sum_to_one : \sum_y p y = 1.
Hypothesis score_mean_zero : \sum_y p y * s y = 0.
Let J := \sum_y p y * r y.
Let g := \sum_y p y * (r y * s y).

Definition pair_kernel y z := (r y - r z) * (s y - s z) / 2%:R.
Definition twice_projected y := 2%:R * \sum_z p z * pair_kernel y z.

(* B3b, in place of the printed form: twice the projected kernel is s (r - J) + grad J *)
Theorem projection_has_the_gradient y : twice_projected y = s y * (r y - J) + g.
Proof.
have two0 : (2%:R : F) != 0 by rewrite pnatr_eq0.
rewrite /twice_projected /pair_kernel mulr_sumr.
have expand z : 2%:R * (p z * ((r y - r z) * (s y - s z) / 2%:R))
    = r y * s y * p z - r y * (p z * s z) - s y * (p z * r z) + p z * (r z * s z).
  by field.
under eq_bigr do rewrite expand.
rewrite !big_split /= !sumrN -!mulr_sumr chances_sum_to_one score_mean_zero -/J -/g.
by ring.
Qed.

(* B3b, refuted as printed: it holds only where the gradient is zero *)
Theorem printed_projection_only_without_gradient y : twice_projected y = s y * (r y - J) <-> g = 0.
Proof.
rewrite projection_has_the_gradient; split=> [/eqP|->]; last by rewrite addr0.
by rewrite -subr_eq0 addrC addKr => /eqP.
Qed.
End Projection.

(* B3b, the counterexample: p = 1/4, two answers, rewards 1 and 0; 3/4 where the printed form gives 9/16 *)
Theorem printed_projection_is_wrong_at_a_quarter :
  let p (y : bool) : rat := if y then 1 / 4%:R else 3%:R / 4%:R in
  let r (y : bool) : rat := if y then 1 else 0 in
  let s (y : bool) : rat := (if y then 1 else 0) - p true in
  twice_projected p r s true = 3%:R / 4%:R /\ s true * (r true - \sum_y p y * r y) = 9%:R / 16%:R.
Proof. by split; rewrite /twice_projected ?big_bool; vm_compute; apply/eqP. Qed.
