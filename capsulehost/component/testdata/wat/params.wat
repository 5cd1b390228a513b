;; Functions whose parameters are larger, all together, than a memory can be.
;; They can be there, and not be called.
(component
  (component $C
    (core module $M
      (memory (export "m") 1)
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
      (func (export "f") (param i32)))
    (core instance $m (instantiate $M))
    (type $block (list u8 134217728))
    (export $block2 "block" (type $block))
    (func (export "f")
      (param "a" $block2) (param "b" $block2) (param "c" $block2) (param "d" $block2)
      (param "e" $block2) (param "f" $block2) (param "g" $block2) (param "h" $block2)
      (param "i" $block2) (param "j" $block2) (param "k" $block2) (param "l" $block2)
      (param "m" $block2) (param "n" $block2) (param "o" $block2) (param "p" $block2)
      (param "q" $block2) (param "r" $block2) (param "s" $block2) (param "t" $block2)
      (param "u" $block2) (param "v" $block2) (param "w" $block2) (param "x" $block2)
      (param "y" $block2) (param "z" $block2) (param "a1" $block2) (param "b1" $block2)
      (param "c1" $block2) (param "d1" $block2) (param "e1" $block2) (param "f1" $block2)
      (canon lift (core func $m "f") (memory (core memory $m "m")) (realloc (core func $m "realloc")))))
  (instance $c (instantiate $C))
  (core module $Mem (memory (export "m") 1))
  (core instance $mem (instantiate $Mem))
  (core func $f (canon lower (func $c "f") (memory (core memory $mem "m"))))
  (core module $Main
    (import "" "f" (func $f (param i32)))
    (func (export "run") (call $f (i32.const 0))))
  (core instance $main (instantiate $Main (with "" (instance (export "f" (func $f))))))
  (func (export "run") (canon lift (core func $main "run")))
  (export "f" (func $c "f")))
