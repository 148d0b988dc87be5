// The bytes of the static init program (init.c), carried inside perdure.
	.section .rodata
	.global perdure_init_image
	.global perdure_init_image_end
	.balign 16
perdure_init_image:
	.incbin PERDURE_INIT_PATH
perdure_init_image_end:
	.section .note.GNU-stack,"",@progbits
