/*
 * utf8.h
 *		Converts text of messages between the server's encoding and the UTF-8 that is sealed.
 *		No character of a message gets into an error on the way.
 */
#ifndef CHATCRYPT_UTF8_H
#define CHATCRYPT_UTF8_H

/*
 * Text in the server's encoding as UTF-8: its own bytes where they are UTF-8 already.  NULL
 * where a server without an encoding holds something else.  The caller wipes a copy.
 */
extern char *chatcrypt_utf8_of_text(const text *given, Size *len);

/*
 * The reverse: a new text; NULL where the bytes are not UTF-8, or cannot be shown in the
 * server's encoding.
 */
extern text *chatcrypt_utf8_to_text(const char *utf8, Size len);

/*
 * The same for a plaintext that the caller owns: returns the plaintext itself where it is in
 * the server's encoding already, or the server has no encoding.
 */
extern text *chatcrypt_utf8_as_text(struct varlena *plaintext);

/* Wipes a text that a caller has opened and no longer needs; NULL for none. */
extern void chatcrypt_utf8_wipe_text(text *plaintext);

#endif
