(* Advantages divided by the group's standard deviation: the contrast of two rollouts, and the bound sqrt(G - 1).
   Any real closed field (the reals, the real algebraic numbers): only roots are needed. *)
From mathcomp Require Import all_ssreflect ssralg ssrnum ring.
From Gradvar Require Import inequalities group_means.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.Theory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Deviation.
Variables (F : rcfType) (n : nat).
Notation G := n.+2.
Implicit Types r s : 'I_G -> F.

Definition squares r := \sum_j centred r j ^+ 2.
(* ddof = 0 is the population's, ddof = 1 the sample's standard deviation *)
Definition deviation ddof r := Num.sqrt (squares r / (G - ddof)%:R).
Definition standardised ddof (eps : F) r i := centred r i / (deviation ddof r + eps).

Lemma squares_ge0 r : 0 <= squares r.
Proof. by apply: sumr_ge0 => j _; exact: sqr_ge0. Qed.

Lemma deviation_sq ddof r : deviation ddof r ^+ 2 = squares r / (G - ddof)%:R.
Proof. by rewrite sqr_sqrtr // divr_ge0 ?squares_ge0 ?ler0n. Qed.
End Deviation.

Section Bound.
Variables (F : rcfType) (n : nat) (r : 'I_n.+2 -> F).
Notation G := n.+2.
Hypothesis not_all_equal : squares r != 0.
Notation A := (standardised 0 0 r).

Let S0 : deviation 0 r != 0.
Proof.
apply/negP => /eqP zero; move: not_all_equal; have := deviation_sq 0 r.
by rewrite zero expr0n /= subn0 => /esym/eqP; rewrite mulf_eq0 invr_eq0 pnatr_eq0 orbF => ->.
Qed.

Let A_def i : A i = centred r i / deviation 0 r. Proof. by rewrite /standardised addr0. Qed.

Lemma standardised_sum : \sum_j A j = 0.
Proof.
under eq_bigr do rewrite A_def.
by rewrite -mulr_suml centred_sums_to_zero mul0r.
Qed.

Lemma standardised_squares : \sum_j A j ^+ 2 = G%:R.
Proof.
under eq_bigr do rewrite A_def expr_div_n.
by rewrite -mulr_suml -/(squares r) deviation_sq subn0 invf_div mulrC divfK.
Qed.

Definition others i := \sum_(j | j != i) (A j + A i / n.+1%:R) ^+ 2.

Lemma others_in_closed_form i : others i = G%:R - G%:R / n.+1%:R * A i ^+ 2.
Proof.
have total : \sum_(j | j != i) A j = - A i.
  by have /esym/eqP := sum_all A i; rewrite standardised_sum addrC addr_eq0 => /eqP.
have total2 : \sum_(j | j != i) A j ^+ 2 = G%:R - A i ^+ 2.
  by rewrite -standardised_squares [in RHS](bigD1 i) //= [RHS]addrC addKr.
rewrite /others; under eq_bigr do rewrite sqrrD -mulr_natl.
rewrite !big_split /= sumr_const cardC1 card_ord.
have -> : \sum_(i0 < G | i0 != i) 2%:R * (A i0 * (A i / n.+1%:R)) = 2%:R * (- A i * (A i / n.+1%:R)).
  by rewrite -mulr_sumr -mulr_suml total.
rewrite total2 -[(A i / _) ^+ 2 *+ _]mulr_natl !natr_succ.
by field; rewrite natr_succ_neq0.
Qed.

Lemma others_ge0 i : 0 <= others i.
Proof. by apply: sumr_ge0 => j _; exact: sqr_ge0. Qed.

Let share_gt0 : (0 : F) < G%:R / n.+1%:R. Proof. by rewrite divr_gt0 ?ltr0n. Qed.
Let closed i : n.+1%:R - A i ^+ 2 = others i / (G%:R / n.+1%:R).
Proof.
rewrite others_in_closed_form; apply: (mulIf (lt0r_neq0 share_gt0)).
rewrite divfK ?lt0r_neq0 // mulrBl [_ * A i ^+ 2]mulrC; congr (_ - _).
by rewrite mulrC divfK // pnatr_eq0.
Qed.

(* B30, bound *)
Theorem standardised_at_most_root i : A i ^+ 2 <= n.+1%:R.
Proof. by rewrite -subr_ge0 closed divr_ge0 ?others_ge0 // ltW. Qed.

(* B30, equality: exactly where all other rewards are equal *)
Theorem standardised_bound_attained i : A i ^+ 2 = n.+1%:R <-> others i = 0.
Proof.
split=> [reached|zero]; have := closed i.
  by rewrite reached subrr => /esym/eqP; rewrite mulf_eq0 invr_eq0 (gt_eqF share_gt0) orbF => /eqP.
by rewrite zero mul0r => /eqP; rewrite subr_eq0 => /eqP ->.
Qed.

(* B30, the same bound as it is often written *)
Theorem standardised_abs_at_most_root i : `|A i| <= Num.sqrt n.+1%:R.
Proof.
by rewrite -ler_sqr ?nnegrE ?normr_ge0 ?sqrtr_ge0 // real_normK ?num_real // sqr_sqrtr ?ler0n //
  standardised_at_most_root.
Qed.

(* B30, sample bound *)
Theorem sample_standardised_bound i : standardised 1 0 r i ^+ 2 <= n.+1%:R ^+ 2 / G%:R.
Proof.
have -> : standardised 1 0 r i ^+ 2 = n.+1%:R / G%:R * A i ^+ 2.
  rewrite A_def /standardised addr0 !expr_div_n !deviation_sq subn0 subn1 /=.
  have n0 : (n.+1%:R : F) != 0 by rewrite pnatr_eq0.
  have G0 : (G%:R : F) != 0 by rewrite pnatr_eq0.
  move: n0 G0 not_all_equal; move: (squares r) (n.+1%:R : F) (G%:R : F) => c a b a0 b0 c0.
  by field; rewrite a0 b0 c0.
rewrite [X in _ <= X](_ : _ = n.+1%:R / G%:R * n.+1%:R); last by rewrite expr2 mulrAC.
by rewrite cancel_left_factor ?divr_gt0 ?ltr0n // standardised_at_most_root.
Qed.
End Bound.

Section Pair.
Variables (F : rcfType) (r s : 'I_2 -> F).
Notation winner := (ord0 : 'I_2).
Notation loser := (ord_max : 'I_2).
Let d := r winner - r loser.
Hypothesis winner_is_better : 0 < d.

Definition kappa (sample : bool) : F := if sample then Num.sqrt 2%:R else 1.
Definition contrast_factor sample eps := d / (kappa sample * d + 2%:R * eps).

Let two0 : (2%:R : F) != 0. Proof. by rewrite pnatr_eq0. Qed.
Let centred_winner : centred r winner = d / 2%:R.
Proof.
rewrite /centred /mean /d !big_ord_recl big_ord0 addr0 (_ : lift ord0 ord0 = loser); last exact: val_inj.
by field.
Qed.
Let centred_loser : centred r loser = - (d / 2%:R).
Proof.
rewrite /centred /mean /d !big_ord_recl big_ord0 addr0 (_ : lift ord0 ord0 = loser); last exact: val_inj.
by field.
Qed.

Lemma pair_squares : squares r = d ^+ 2 / 2%:R.
Proof.
rewrite /squares !big_ord_recl big_ord0 addr0 (_ : lift ord0 ord0 = loser); last exact: val_inj.
by rewrite centred_winner centred_loser; field.
Qed.

Lemma pair_deviation (sample : bool) : deviation sample r = kappa sample * d / 2%:R.
Proof.
rewrite /deviation pair_squares.
have nonneg : 0 <= kappa sample * d / 2%:R.
  by rewrite divr_ge0 ?ler0n // mulr_ge0 ?(ltW winner_is_better) //; case: sample; rewrite ?sqrtr_ge0 ?ler01.
rewrite -[RHS](ger0_norm nonneg) -sqrtr_sqr; congr Num.sqrt.
case: sample {nonneg}; rewrite /kappa /=; last by rewrite subn0; field.
by rewrite !exprMn sqr_sqrtr ?ler0n // subn1 /=; field.
Qed.

(* A1a, factor: the advantages are plus and minus d / (kappa d + 2 eps), with any epsilon and either deviation *)
Theorem pair_advantages (sample : bool) (eps : F) : 0 <= eps ->
  standardised sample eps r winner = contrast_factor sample eps /\
  standardised sample eps r loser = - contrast_factor sample eps.
Proof.
move=> eps0; rewrite /standardised pair_deviation centred_winner centred_loser /contrast_factor.
have kappa_gt0 : 0 < kappa sample by case: sample; rewrite /kappa ?sqrtr_gt0 ?ltr0n ?ltr01.
have low : kappa sample * d + 2%:R * eps != 0.
  by rewrite lt0r_neq0 // strictly_below_with_more ?mulr_ge0 ?ler0n // mulr_gt0.
have low2 : kappa sample * d / 2%:R + eps != 0.
  by rewrite lt0r_neq0 // strictly_below_with_more // divr_gt0 ?ltr0n // mulr_gt0.
by split; field; rewrite low.
Qed.

(* A1a, contrast: whatever the share of each rollout's tokens in the sum, which is in its S *)
Theorem pair_update_is_contrast (sample : bool) (eps : F) (S : 'I_2 -> F) : 0 <= eps ->
  \sum_i standardised sample eps r i * S i = contrast_factor sample eps * (S winner - S loser).
Proof.
move=> eps0; have [up down] := pair_advantages sample eps0.
rewrite !big_ord_recl big_ord0 addr0 (_ : lift ord0 ord0 = loser); last exact: val_inj.
by rewrite up down; ring.
Qed.

(* A1a, bounded *)
Theorem contrast_factor_is_bounded (sample : bool) (eps : F) : 0 <= eps ->
  0 < contrast_factor sample eps <= 1.
Proof.
move=> eps0; have kappa_ge1 : 1 <= kappa sample.
  by case: sample; rewrite /kappa // -[X in X <= _]sqrtr1 ler_sqrt ?ltr0n // ler1n.
have kd : d <= kappa sample * d by rewrite below_multiple // ltW.
have low : 0 < kappa sample * d + 2%:R * eps.
  by rewrite strictly_below_with_more ?mulr_ge0 ?ler0n // (lt_le_trans winner_is_better).
rewrite /contrast_factor divr_gt0 //= quotient_below // mul1r.
by rewrite below_with_more ?mulr_ge0 ?ler0n.
Qed.

(* A1a, finding: without the division (Dr. GRPO) the advantages are plus and minus d / 2 *)
Theorem pair_centred : centred r winner = d / 2%:R /\ centred r loser = - (d / 2%:R).
Proof. by rewrite centred_winner centred_loser. Qed.
End Pair.
