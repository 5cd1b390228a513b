;; A component with UTF-16 strings answers what another one with UTF-8 strings
;; is given, and has a post-return and a memory of its own.
(component
  (component $Wide
    (core module $M
      (memory (export "mem") 1)
      (global $next (mut i32) (i32.const 1024))
      (global (export "freed") (mut i32) (i32.const 0))
      (func (export "realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
        (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
        (global.set $next (i32.add (local.get $at) (local.get $new)))
        (memory.copy (local.get $at) (local.get $old)
          (select (local.get $size) (local.get $new) (i32.lt_u (local.get $size) (local.get $new))))
        (local.get $at))
      (func (export "echo") (param i32 i32) (result i32)
        (i32.store (i32.const 8) (local.get 0))
        (i32.store (i32.const 12) (local.get 1))
        (i32.const 8))
      (func (export "post") (param i32)
        (if (i32.ne (local.get 0) (i32.const 8)) (then unreachable))))
    (core instance $m (instantiate $M))
    (func (export "echo") (param "s" string) (result string)
      (canon lift (core func $m "echo") string-encoding=utf16
        (memory (core memory $m "mem")) (realloc (core func $m "realloc")) (post-return (core func $m "post")))))
  (instance $wide (instantiate $Wide))
  (core module $Libc
    (memory (export "mem") 1)
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get $new)))
      (memory.copy (local.get $at) (local.get $old)
        (select (local.get $size) (local.get $new) (i32.lt_u (local.get $size) (local.get $new))))
      (local.get $at)))
  (core instance $libc (instantiate $Libc))
  (core module $Main
    (import "" "mem" (memory 1))
    (import "" "echo" (func $echo (param i32 i32 i32)))
    (func (export "run") (param i32 i32) (result i32)
      (call $echo (local.get 0) (local.get 1) (i32.const 16))
      (i32.const 16)))
  (core func $echo (canon lower (func $wide "echo") (memory (core memory $libc "mem")) (realloc (core func $libc "realloc"))))
  (core instance $main (instantiate $Main (with "" (instance
    (export "mem" (memory $libc "mem")) (export "echo" (func $echo))))))
  (func (export "run") (param "s" string) (result string)
    (canon lift (core func $main "run") (memory (core memory $libc "mem")) (realloc (core func $libc "realloc")))))
