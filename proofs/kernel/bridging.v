(* What the generated bridges say their theorems with: rewards and scores of a group listed one by one. *)
From mathcomp Require Import all_ssreflect all_algebra ring.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Definition values (F : numFieldType) (G : nat) (entries : seq F) : 'I_G -> F := fun i => nth 0 entries i.
