(* On policy: the score has the mean zero, leave-one-out is unbiased, mean-centring has the factor (G - 1)/G. *)
From mathcomp Require Import all_ssreflect ssralg ssrnum ring.
From Gradvar Require Import group_means independence.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import GRing.Theory Num.Theory.
Local Open Scope ring_scope.

(* A softmax over finitely many answers with chances p: the derivative of log p y by the logit of x, and of p y. *)
Section Softmax.
Variables (F : numFieldType) (T : finType) (p : T -> F).
Hypothesis chances_sum_to_one : \sum_y p y = 1.
Definition score (x y : T) : F := (y == x)%:R - p x.

Lemma sum_with_indicator (a : T -> F) x : \sum_y a y * (y == x)%:R = a x.
Proof.
by rewrite (bigD1 x) //= eqxx mulr1 big1 ?addr0 // => y /negbTE ->; rewrite mulr0.
Qed.

(* A20, the part on plain scores: their mean is zero *)
Theorem score_has_mean_zero x : \sum_y p y * score x y = 0.
Proof.
rewrite /score; under eq_bigr do rewrite mulrBr.
by rewrite sumrB sum_with_indicator -mulr_suml chances_sum_to_one mul1r subrr.
Qed.

(* The policy gradient: the derivative of J = sum_y p y r y, where p y changes by p y (1{y = x} - p x), is E[r s]. *)
Lemma policy_gradient (r : T -> F) x :
  \sum_y p y * (r y * score x y) = p x * (r x - \sum_y p y * r y).
Proof.
rewrite /score; under eq_bigr do rewrite mulrA mulrBr.
by rewrite sumrB sum_with_indicator -mulr_suml mulrBr [in RHS]mulrC [X in _ - X]mulrC; congr (_ - _); rewrite mulrC.
Qed.
End Softmax.

(* The same policy by its weights w y = exp(theta y). To raise theta x is to multiply w x by 1 + h. *)
Section Slope.
Variables (F : numFieldType) (T : finType) (w r : T -> F) (x : T).
Definition value_of v : F := (\sum_y v y * r y) / \sum_y v y.
Definition chance_of y := w y / \sum_y w y.
Definition raised h y := w y * (1 + h * (y == x)%:R).

(* B1, the gradient: a raise by 1 + h changes J by h E[r s], over 1 + h p x, which is 1 in the limit h -> 0 *)
Theorem change_of_value_is_mean_reward_times_score h : \sum_y w y != 0 -> 1 + h * chance_of x != 0 ->
  value_of (raised h) - value_of w
  = h * (\sum_y chance_of y * (r y * score chance_of x y)) / (1 + h * chance_of x).
Proof.
move=> total0 raised0; have sums (a : T -> F) : \sum_y raised h y * a y = \sum_y w y * a y + h * (w x * a x).
  rewrite -(sum_with_indicator (fun y => w y * a y) x) mulr_sumr -big_split /=.
  by apply: eq_bigr => y _; rewrite /raised; ring.
have total : \sum_y raised h y = \sum_y w y + h * w x.
  have := sums (fun=> 1); under eq_bigr do rewrite mulr1.
  by under [X in X + _]eq_bigr do rewrite mulr1; rewrite mulr1.
rewrite policy_gradient /value_of sums total.
have -> : \sum_y chance_of y * r y = (\sum_y w y * r y) / \sum_y w y.
  by rewrite mulr_suml; apply: eq_bigr => y _; rewrite /chance_of; ring.
have raised1 : \sum_y w y + h * w x != 0.
  have -> : \sum_y w y + h * w x = (1 + h * chance_of x) * \sum_y w y.
    by rewrite mulrDl mul1r /chance_of -mulrA divfK.
  exact: mulf_neq0.
move: total0 raised0 raised1; rewrite /chance_of; move: (\sum_y w y) (\sum_y w y * r y) => z a z0 b0 c0.
by field; rewrite z0 c0.
Qed.
End Slope.

Section OnPolicy.
Variables (F : numFieldType) (n : nat) (T : finType) (p r s : T -> F).
Notation G := n.+2.
Hypothesis chances_sum_to_one : \sum_y p y = 1.
Hypothesis score_mean_zero : \sum_y p y * s y = 0.
Notation mean_over_groups := (E (fun _ : 'I_G => p)).
Definition value := \sum_y p y * r y.
Definition gradient := \sum_y p y * (r y * s y).

Let one_at (i : 'I_G) : \sum_y p y = 1. Proof. exact: chances_sum_to_one. Qed.
Let G0 : (G%:R : F) != 0. Proof. by rewrite pnatr_eq0. Qed.

(* B1, unbiased *)
Theorem leave_one_out_is_unbiased :
  mean_over_groups (fun f => rloo (fun i => r (f i)) (fun i => s (f i))) = gradient.
Proof.
pose term i (f : {ffun 'I_G -> T}) :=
  r (f i) * s (f i) + (- (n.+1%:R)^-1) * \sum_(j | j != i) r (f j) * s (f i).
transitivity (mean_over_groups (fun f => (G%:R)^-1 * \sum_i term i f)).
  apply: E_ext => f; rewrite /rloo /estimate mulrC; congr (_ * _); apply: eq_bigr => i _.
  rewrite /leave_one_out /term mulrBl mulNr; congr (_ - _).
  by rewrite -mulr_suml [RHS]mulrA; congr (_ * _); rewrite mulrC.
rewrite E_scale E_sum (eq_bigr (fun=> gradient)) => [|i _].
  by rewrite sumr_const card_ord -[X in _ * X]mulr_natl mulrA mulVf ?mul1r.
rewrite /term E_add E_scale E_sum (E_one one_at i (fun y => r y * s y)).
rewrite [X in _ + _ * X]big1 ?mulr0 ?addr0 // => j different.
by rewrite (E_two one_at r s different) /mean_of score_mean_zero mulr0.
Qed.

(* A17b: with the group's own mean as baseline the mean update is (G - 1)/G times the gradient *)
Theorem mean_centring_has_factor :
  mean_over_groups (fun f => estimate (centred (fun i => r (f i))) (fun i => s (f i)))
  = n.+1%:R / G%:R * gradient.
Proof.
rewrite -leave_one_out_is_unbiased -E_scale; apply: E_ext => f.
rewrite /rloo /estimate; under [in RHS]eq_bigr do rewrite leave_one_out_is_scaled_centring -[_ * _ * s _]mulrA.
rewrite -mulr_sumr mulrA mulrA; congr (_ / _).
rewrite -[n.+1%:R / _ * _]mulrA [_^-1 * _]mulrA mulVf // mul1r mulfV ?mul1r // pnatr_eq0 //.
Qed.

(* A17a: the group's mean reward has the mean J *)
Theorem group_mean_is_unbiased : mean_over_groups (fun f => mean (fun i => r (f i))) = value.
Proof.
transitivity (mean_over_groups (fun f => (G%:R)^-1 * \sum_i r (f i))).
  by apply: E_ext => f; rewrite /mean mulrC.
rewrite E_scale E_sum (eq_bigr (fun=> value)) => [|i _]; last exact: (E_one one_at i r).
by rewrite sumr_const card_ord -[X in _ * X]mulr_natl mulrA mulVf ?mul1r.
Qed.
End OnPolicy.
