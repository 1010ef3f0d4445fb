(* A general baseline with binary rewards: the update is along the mean of the positives less c times that of the
   negatives. A group of G rollouts, those in the set right are correct. *)
From mathcomp Require Import all_ssreflect ssralg ssrnum ring.
From Gradvar Require Import inequalities.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.Theory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Baseline.
Variables (F : numFieldType) (G : nat) (right : {set 'I_G}) (s : 'I_G -> F) (b : F).
Let k := #|right|.
Hypothesis mixed : (0 < k < G)%N.
Hypothesis not_one : b != 1.

Definition reward i : F := (i \in right)%:R.
Definition update := (\sum_i (reward i - b) * s i) / G%:R.
Definition mean_right := (\sum_(i in right) s i) / k%:R.
Definition mean_wrong := (\sum_(i in ~: right) s i) / (G - k)%:R.
Definition coefficient := (G - k)%:R * b / (k%:R * (1 - b)).

Let k0 : (k%:R : F) != 0. Proof. by rewrite pnatr_eq0 -lt0n; case/andP: mixed. Qed.
Let rest0 : ((G - k)%:R : F) != 0. Proof. by rewrite pnatr_eq0 subn_eq0 -ltnNge; case/andP: mixed. Qed.
Let G0 : (G%:R : F) != 0. Proof. by rewrite pnatr_eq0 -lt0n; case/andP: mixed => _; case: (G). Qed.
Let b0 : 1 - b != 0. Proof. by rewrite subr_eq0 eq_sym. Qed.
Let split_size : (G%:R : F) = k%:R + (G - k)%:R.
Proof. by rewrite -natrD subnKC //; case/andP: mixed => _ /ltnW. Qed.

(* A6, coefficient: c is the total weight of the wrong scores over that of the correct ones, with the sign changed *)
Theorem coefficient_is_ratio_of_weights :
  coefficient = - (\sum_(i in ~: right) (reward i - b)) / (\sum_(i in right) (reward i - b)).
Proof.
have -> : \sum_(i in right) (reward i - b) = k%:R * (1 - b).
  rewrite (eq_bigr (fun=> 1 - b)) => [|i inside]; first by rewrite sumr_const mulr_natl.
  by rewrite /reward inside.
have -> : \sum_(i in ~: right) (reward i - b) = (G - k)%:R * (- b).
  rewrite (eq_bigr (fun=> - b)) => [|i]; last by rewrite inE /reward => /negbTE ->; rewrite sub0r.
  by rewrite sumr_const cardsCs setCK card_ord mulr_natl.
by rewrite mulrN opprK.
Qed.

(* A6, two means *)
Theorem update_is_two_means :
  update = k%:R * (1 - b) / G%:R * (mean_right - coefficient * mean_wrong).
Proof.
rewrite /update (bigID (mem right)) /=.
have -> : \sum_(i in right) (reward i - b) * s i = (1 - b) * \sum_(i in right) s i.
  by rewrite mulr_sumr; apply: eq_bigr => i inside; rewrite /reward inside.
have -> : \sum_(i | i \notin right) (reward i - b) * s i = - b * \sum_(i in ~: right) s i.
  rewrite mulr_sumr; under [in RHS]eq_bigl do rewrite inE.
  by apply: eq_bigr => i /negbTE outside; rewrite /reward outside sub0r.
rewrite /mean_right /mean_wrong /coefficient.
set R := \sum_(i in right) _; set W := \sum_(i in ~: right) _.
by field; rewrite k0 rest0 G0 b0.
Qed.

(* A6, one at the mean *)
Theorem coefficient_is_one_at_the_mean : coefficient = 1 <-> b = k%:R / G%:R.
Proof.
rewrite /coefficient; split=> [one|->].
  have : (G - k)%:R * b = k%:R * (1 - b).
    by have := congr1 (fun x => x * (k%:R * (1 - b))) one; rewrite divfK ?mul1r // mulf_neq0.
  move=> balance; apply: (mulIf G0); rewrite divfK // mulrC split_size mulrDl balance; ring.
have : (1 - k%:R / G%:R : F) = (G - k)%:R / G%:R.
  by apply: (mulIf G0); rewrite mulrBl !divfK // mul1r split_size; ring.
by move=> ->; field; rewrite k0 rest0 G0.
Qed.
End Baseline.

Section Below.
Variables (F : realFieldType) (G k : nat) (b : F).
Hypothesis mixed : (0 < k < G)%N.

(* A6, smaller below the mean *)
Theorem coefficient_is_below_one_below_the_mean :
  0 <= b -> b < k%:R / G%:R -> (G - k)%:R * b / (k%:R * (1 - b)) < 1.
Proof.
case/andP: mixed => k_pos below _ small.
have G_pos : (0 : F) < G%:R by rewrite ltr0n (leq_ltn_trans _ below).
have : b * G%:R < k%:R by rewrite -strictly_below_quotient.
move=> small'; have b1 : b < 1.
  by apply: (lt_trans small); rewrite quotient_strictly_below // mul1r ltr_nat.
rewrite quotient_strictly_below ?mul1r; last by rewrite mulr_gt0 ?ltr0n // subr_gt0.
rewrite natrB ?(ltnW below) // -subr_gt0 [X in 0 < X](_ : _ = k%:R - b * G%:R); last by ring.
by rewrite subr_gt0.
Qed.
End Below.
