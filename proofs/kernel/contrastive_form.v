(* GRPO's clipped, length-normalised objective with binary rewards is a contrast, at every group size. Rollout i has
   len i tokens of the ratios rho i t, the clip is [1 - low, 1 + high]. Those in the set right are correct. *)
From mathcomp Require Import all_ssreflect ssralg ssrnum ring.
From Gradvar Require Import inequalities group_means standardised.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.Theory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Clipped.
Variables (F : rcfType) (n : nat) (right : {set 'I_n.+2}) (len : 'I_n.+2 -> nat) (rho : 'I_n.+2 -> nat -> F).
Variables (low high : F).
Notation G := n.+2.
Let k := #|right|.
Hypothesis clip_is_an_interval : 0 <= low /\ 0 <= high.
Hypothesis mixed : (0 < k < G)%N.

Definition reward i : F := (i \in right)%:R.
Definition clip x := Num.max (1 - low) (Num.min x (1 + high)).
Definition surrogate A x := Num.min (x * A) (clip x * A).
Definition token_mean i (x : nat -> F) := (\sum_(t < len i) x t) / (len i)%:R.
Definition grpo (A : 'I_G -> F) := (\sum_i token_mean i (fun t => surrogate (A i) (rho i t))) / G%:R.
Definition C_plus := (\sum_(i in right) token_mean i (fun t => Num.min (rho i t) (1 + high))) / k%:R.
Definition C_minus := (\sum_(i in ~: right) token_mean i (fun t => Num.max (rho i t) (1 - low))) / (G - k)%:R.
Let share : F := k%:R / G%:R.

Let k0 : (k%:R : F) != 0. Proof. by rewrite pnatr_eq0 -lt0n; case/andP: mixed. Qed.
Let rest0 : ((G - k)%:R : F) != 0. Proof. by rewrite pnatr_eq0 subn_eq0 -ltnNge; case/andP: mixed. Qed.
Let G0 : (G%:R : F) != 0. Proof. by rewrite pnatr_eq0. Qed.
Let rest_share : 1 - share = (G - k)%:R / G%:R.
Proof.
rewrite natrB; last by case/andP: mixed => _ /ltnW.
by rewrite mulrBl mulfV.
Qed.
Let share_gt0 : 0 < share. Proof. by rewrite divr_gt0 ?ltr0n //; case/andP: mixed. Qed.
Let rest_gt0 : 0 < 1 - share. Proof. by rewrite rest_share divr_gt0 ?ltr0n // subn_gt0; case/andP: mixed. Qed.

Lemma clip_up A x : 0 < A -> surrogate A x = A * Num.min x (1 + high).
Proof.
case: clip_is_an_interval => low0 high0 A0.
rewrite /surrogate -min_times_positive // mulrC; congr (_ * _).
have order : 1 - low <= 1 + high by rewrite cancel_left_summand (le_trans _ high0) // oppr_le0.
rewrite /clip; case: (leP x (1 + high)) => [inside|above].
  by rewrite min_l //; case: (leP (1 - low) x) => // /ltW.
by rewrite (max_r order) min_r // ltW.
Qed.

Lemma clip_down A x : A < 0 -> surrogate A x = A * Num.max x (1 - low).
Proof.
case: clip_is_an_interval => low0 high0 A0.
have order : 1 - low <= 1 + high by rewrite cancel_left_summand (le_trans _ high0) // oppr_le0.
rewrite /surrogate -max_times_negative // mulrC; congr (_ * _).
rewrite /clip; case: (leP x (1 + high)) => [inside|above]; first by rewrite maxCA maxxx maxC.
by rewrite (max_r order) max_l ?max_l // ?(le_trans order) ?(ltW above).
Qed.

Lemma mean_is_share : mean reward = share.
Proof.
rewrite /mean /share /reward; congr (_ / _).
rewrite -natr_sum; congr (_%:R); rewrite /k -sum1_card [RHS]big_mkcond /=.
by apply: eq_bigr => i _; case: (i \in right).
Qed.

Lemma deviation_is_root : deviation 0 reward = Num.sqrt (share * (1 - share)).
Proof.
rewrite /deviation subn0; congr Num.sqrt; apply: (mulIf G0); rewrite divfK //.
rewrite /squares (bigID (mem right)) /= (eq_bigr (fun=> (1 - share) ^+ 2)) => [|i inside]; last first.
  by rewrite /centred mean_is_share /reward inside.
rewrite [X in _ + X](eq_bigr (fun=> share ^+ 2)) => [|i /negbTE outside]; last first.
  by rewrite /centred mean_is_share /reward outside sub0r sqrrN.
rewrite sumr_const (eq_bigl (mem (~: right))) => [|i]; last by rewrite -[RHS]/(i \in ~: right) inE.
rewrite !sumr_const [#|mem (~: right)|](cardsCs (~: right)) setCK card_ord -/k.
rewrite -[(1 - share) ^+ 2 *+ k]mulr_natl -[share ^+ 2 *+ _]mulr_natl.
have -> : ((G - k)%:R : F) = (1 - share) * G%:R by rewrite rest_share divfK.
have -> : (k%:R : F) = share * G%:R by rewrite /share divfK.
by ring.
Qed.

(* A2, contrast *)
Theorem grpo_is_a_contrast :
  grpo (standardised 0 0 reward) = Num.sqrt (share * (1 - share)) * (C_plus - C_minus).
Proof.
set sigma := Num.sqrt _; have sigma_gt0 : 0 < sigma by rewrite sqrtr_gt0 mulr_gt0.
have sigma2 : sigma ^+ 2 = share * (1 - share) by rewrite sqr_sqrtr // ltW // mulr_gt0.
have up i : i \in right -> standardised 0 0 reward i = (1 - share) / sigma.
  by move=> inside; rewrite /standardised addr0 deviation_is_root /centred mean_is_share /reward inside.
have down i : i \notin right -> standardised 0 0 reward i = - (share / sigma).
  move=> /negbTE outside; rewrite /standardised addr0 deviation_is_root /centred mean_is_share /reward outside.
  by rewrite sub0r mulNr.
have scale i (A : F) x : token_mean i (fun t => A * x t) = A * token_mean i x.
  by rewrite /token_mean -mulr_sumr mulrA.
rewrite /grpo (bigID (mem right)) /=.
have -> : \sum_(i in right) token_mean i (fun t => surrogate (standardised 0 0 reward i) (rho i t))
    = (1 - share) / sigma * (k%:R * C_plus).
  rewrite /C_plus [k%:R * _]mulrC divfK // mulr_sumr; apply: eq_bigr => i inside.
  rewrite up // -scale /token_mean; congr (_ / _); apply: eq_bigr => t _.
  by rewrite clip_up // divr_gt0.
have -> : \sum_(i | i \notin right) token_mean i (fun t => surrogate (standardised 0 0 reward i) (rho i t))
    = - (share / sigma) * ((G - k)%:R * C_minus).
  rewrite /C_minus [(G - k)%:R * _]mulrC divfK // mulr_sumr.
  rewrite [RHS](eq_bigl (fun i => i \notin right)) => [|i]; last by rewrite inE.
  apply: eq_bigr => i outside.
  rewrite down // -scale /token_mean; congr (_ / _); apply: eq_bigr => t _.
  by rewrite clip_down // oppr_lt0 divr_gt0.
have -> : ((G - k)%:R : F) = (1 - share) * G%:R by rewrite rest_share divfK.
have -> : (k%:R : F) = share * G%:R by rewrite /share divfK.
transitivity (share * (1 - share) / sigma * (C_plus - C_minus)); last first.
  congr (_ * _); apply: (mulIf (lt0r_neq0 sigma_gt0)).
  by rewrite divfK ?lt0r_neq0 // -sigma2 expr2.
have algebra x h s a b : x != 0 -> s != 0 ->
    ((1 - h) / s * (h * x * a) + - (h / s) * ((1 - h) * x * b)) / x = h * (1 - h) / s * (a - b) :> F.
  by move=> x0 s0; field; rewrite x0 s0.
exact: algebra G0 (lt0r_neq0 sigma_gt0).
Qed.

(* A2, no signal: equal advantages of zero *)
Theorem silent_group_has_no_objective A : (forall i, A i = 0) -> grpo A = 0.
Proof.
move=> silent; rewrite /grpo big1 ?mul0r // => i _.
by rewrite silent /token_mean /surrogate big1 ?mul0r // => t _; rewrite !mulr0 minxx.
Qed.
End Clipped.
