(* The same with square roots. *)
From mathcomp Require Import all_ssreflect ssralg ssrnum ring.
From Gradvar Require Import group_means standardised contrastive_form bridging.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.Theory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Roots.
Variable F : rcfType.

(* A root with its square factors taken out, as SymPy writes it. *)
Lemma root_in_parts (c x y : F) : 0 <= c -> x = c ^+ 2 * y -> Num.sqrt x = c * Num.sqrt y.
Proof. by move=> c0 ->; rewrite sqrtrM ?sqr_ge0 // sqrtr_sqr ger0_norm. Qed.

Lemma inverse_root_in_parts (c m x y : F) :
  0 < c -> 0 < m -> c ^+ 2 * x = m * y -> Num.sqrt m / Num.sqrt x = c / Num.sqrt y.
Proof.
move=> c0 m0 same.
have root : c * Num.sqrt x = Num.sqrt m * Num.sqrt y.
  by rewrite -[c](ger0_norm (ltW c0)) -sqrtr_sqr -!sqrtrM ?sqr_ge0 ?same // ltW.
case: (eqVneq (Num.sqrt x) 0) => [zero|x0].
  have/eqP: Num.sqrt m * Num.sqrt y = 0 by rewrite -root zero mulr0.
  by rewrite mulf_eq0 gt_eqF ?sqrtr_gt0 //= => /eqP ->; rewrite zero !invr0 !mulr0.
have y0 : Num.sqrt y != 0.
  by apply/eqP => zero; move/eqP: root; rewrite zero mulr0 mulf_eq0 gt_eqF //= (negbTE x0).
by apply: (mulIf x0); apply: (mulIf y0); rewrite divfK // -root mulrAC divfK.
Qed.

Definition squares_listed (r : seq F) :=
  total (indexed (fun _ x => (x - total r / (size r)%:R) ^+ 2) 0 r).

Lemma squares_values n (r : seq F) : size r = n.+2 -> @squares F n (values r) = squares_listed r.
Proof.
move=> r_size; rewrite /squares /squares_listed.
rewrite -[RHS](@sum_listed F n.+2) //; apply: eq_bigr => i _; rewrite /centred /mean r_size.
by congr ((_ - _ / _) ^+ 2); rewrite total_values.
Qed.

Lemma standardised_listed n (r s : seq F) : size r = n.+2 -> size s = n.+2 ->
  (\sum_i standardised 0 0 (@values F n.+2 r) i * values s i) / n.+2%:R =
  (Num.sqrt (squares_listed r / n.+2%:R))^-1 * centred_listed r s.
Proof.
move=> r_size s_size; rewrite -(estimate_listed r_size s_size) /estimate mulrA; congr (_ / _).
rewrite mulr_sumr; apply: eq_bigr => i _.
by rewrite /standardised addr0 /deviation subn0 squares_values // mulrA [_^-1 * _]mulrC.
Qed.
End Roots.

(* The clipped objective of a group whose first k rollouts are correct, the ratios of each rollout's tokens in a list. *)
Section Clipped.
Variables (F : rcfType) (n k : nat) (ratios : seq (seq F)) (low high : F).
Notation G := n.+2.
Definition lengths (i : 'I_G) := size (nth [::] ratios i).
Definition ratio (i : 'I_G) t := nth 0 (nth [::] ratios i) t.
Definition first : {set 'I_G} := [set i : 'I_G | (i < k)%N].
Definition mean_listed (f : F -> F) l := total (indexed (fun _ => f) 0 l) / (size l)%:R.
Definition contrast_listed :=
  total (indexed (fun i l => if (i < k)%N then mean_listed (fun x => Num.min x (1 + high)) l else 0) 0 ratios) / k%:R
  - total (indexed (fun i l => if (i < k)%N then 0 else mean_listed (fun x => Num.max x (1 - low)) l) 0 ratios)
    / (G - k)%:R.

Lemma grpo_listed : size ratios = G -> 0 <= low /\ 0 <= high -> (0 < k < G)%N ->
  grpo lengths ratio low high (standardised 0 0 (@reward F n first)) =
  Num.sqrt (k%:R / G%:R * (1 - k%:R / G%:R)) * contrast_listed.
Proof.
move=> ratios_size clip_bounds inside.
have count : #|first| = k.
  rewrite -sum1_card (eq_bigl (fun i : 'I_G => (i < k)%N)) => [|i]; last by rewrite inE.
  by rewrite -(big_ord_widen G (fun=> 1%N)) ?sum1_card ?card_ord //; case/andP: inside => _ /ltnW.
have means f i : token_mean lengths i (fun t => f (ratio i t)) = mean_listed f (nth [::] ratios i).
  by rewrite /token_mean /mean_listed /ratio /lengths (sum_of_entries 0 (fun _ => f)).
rewrite grpo_is_a_contrast ?count // /contrast_listed -!(sum_of_entries [::] _ ratios_size) /C_plus /C_minus count.
congr (_ * (_ / _ - _ / _)); rewrite big_mkcond; apply: eq_bigr => i _; rewrite !inE.
  by case: ifP => // _; exact: (means (fun x => Num.min x (1 + high))).
by case: (i < k)%N => //=; exact: (means (fun x => Num.max x (1 - low))).
Qed.
End Clipped.
